"""How this program is called where it is installed: a hint names a command that can be typed as it stands."""

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path

NAME = "secondlook"


def program_name() -> str:
    """Return `secondlook` where a shell finds this program so, else the path that leads to it.

    In the folder of a clone this is `.venv/bin/secondlook`.
    """
    script = Path(sys.executable).parent / NAME
    if not os.access(script, os.X_OK) and Path(sys.argv[0]).name == NAME:
        script = Path(sys.argv[0]).absolute()  # installed apart from its Python
    if not os.access(script, os.X_OK):
        return f"{shlex.quote(sys.executable)} -m {NAME}"
    on_path = (Path(folder, NAME) for folder in os.get_exec_path())
    found = next((path for path in on_path if os.access(path, os.X_OK)), None)
    if found is not None and found.resolve() == script.resolve():
        return NAME
    with suppress(OSError):  # the folder may be gone
        here = Path.cwd()
        if here != Path(here.anchor) and script.is_relative_to(here):
            script = script.relative_to(here)
    return shlex.quote(str(script))


def typed(words: str) -> str:
    """Return a command of this program as it can be typed."""
    return f"{program_name()} {words}"
