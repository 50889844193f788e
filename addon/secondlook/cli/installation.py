"""Where a command finds its configuration and its state folder. Standard library only, mostly."""

import os
import re
from pathlib import Path

CONFIG_NAME = "proxy.yaml"
PACKAGE = Path(__file__).parent.parent
SYSTEM_CONFIG = Path("/etc/secondlook") / CONFIG_NAME  # of the service
_MOST_BYTES = 1 << 20
_PLAIN = (
    r"[A-Za-z0-9_./~][A-Za-z0-9_./+~-]*"  # neither a number's nor a variable's beginning is mistaken for it
)
_STATE = re.compile(rf"(?m)^state:[ \t]+(?:({_PLAIN})|'({_PLAIN})'|\"({_PLAIN})\")(?:[ \t]+(?:#.*)?)?$")
# the last is no YAML, or a key that is not ours: a fault, which leaves what the other lines say plain
_TOP_LEVEL = re.compile(
    r"(?:[a-z_]+:(?:\s.*)?|#.*| .*|-(?!--).*|---[ \t]*||(?!state)[A-Za-z\t][^'\"{}\[\]]*)"
)


def find_config(config: Path | None) -> tuple[Path | None, Path | None]:
    """Find the configuration and, for one that came with the package, the state folder that goes with it."""
    if config is not None:
        return config, None
    here = Path(CONFIG_NAME)
    if here.is_file():
        return here, None
    import platformdirs

    own = Path(platformdirs.user_config_path("secondlook")) / CONFIG_NAME
    if own.is_file():
        return own, None
    if os.access(SYSTEM_CONFIG, os.R_OK):
        return SYSTEM_CONFIG, None
    state = Path(platformdirs.user_state_path("secondlook"))
    shipped = PACKAGE / "shipped" / CONFIG_NAME
    return (shipped if shipped.is_file() else None), state


def plainly_stated(config: Path | None) -> Path | None:
    """Read the state folder out of a configuration whose lines state it plainly; None where YAML is needed.

    Raises OSError.
    """
    if config is None:
        return Path("state").absolute()
    with config.open("rb") as file:
        text = file.read(_MOST_BYTES).decode("utf-8-sig", "replace")
    lines = text.splitlines()
    if len(text) == _MOST_BYTES or not all(map(_TOP_LEVEL.fullmatch, lines)):
        return None
    stated = [line for line in lines if line.startswith("state:")]
    found = _STATE.search(text)
    if len(stated) > 1 or (stated and found is None):
        return None
    folder = Path(next(filter(None, found.groups())) if found else "state").expanduser()
    return config.absolute().parent / folder
