"""Parts that few need and that are installed on request: a setting that wants one says which."""

from importlib.util import find_spec
from typing import Final

from secondlook.config.value import problem

EXTRAS: Final = {
    "postgresql": "psycopg",
    "valkey": "redis",
    "notices": "apprise",
}  # extra: the module it brings


def needs(extra: str) -> None:
    """Raise the error of a value that wants an extra which is not installed."""
    if find_spec(EXTRAS[extra]) is None:
        raise problem(
            "",
            f"this needs the extra `{extra}`, which is not installed: pip install 'secondlook[{extra}]' "
            "(in a clone: make extras)",
        )
