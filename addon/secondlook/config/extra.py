"""Parts that few need and that are installed on request: a setting that wants one names it."""

from importlib.util import find_spec
from typing import Final

from secondlook.config.value import problem

EXTRAS: Final = {
    "postgresql": "psycopg",
    "valkey": "redis",
    "notices": "apprise",
    "yara": "yara_x",
}  # extra: the module it brings


def has(extra: str) -> bool:
    """Return whether an extra is installed."""
    return find_spec(EXTRAS[extra]) is not None


def needs(extra: str) -> None:
    """Raise the error of a value that wants an extra which is not installed."""
    if not has(extra):
        raise problem(
            "",
            f"this needs the extra `{extra}`, which is not installed: pip install 'secondlook[{extra}]' "
            "(in a clone: make extras; uv and pipx: docs/operation.md#extras)",
        )
