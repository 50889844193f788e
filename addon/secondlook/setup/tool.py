"""Running the platforms' own tools; those of Windows from WSL 2, which puts them on the path."""

import os
import shutil
import subprocess
from collections.abc import Sequence

TIMEOUT_S = 60


class ToolError(Exception):
    """A platform's tool is missing or refused; the message is what it printed."""


def has(tool: str) -> bool:
    """Return whether a tool is installed."""
    return shutil.which(tool) is not None


def windows() -> str | None:
    """Name the WSL distribution this runs in, where it reaches its Windows' tools; None elsewhere."""
    return os.environ.get("WSL_DISTRO_NAME") if has("reg.exe") else None


def run(*command: str) -> str:
    """Run a tool and return what it printed.

    Raises ToolError when it is missing, fails or does not end within a minute.
    """
    path = shutil.which(command[0])
    if path is None:
        raise ToolError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(  # noqa: S603 (a fixed tool with separate arguments, no shell)
            [path, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",  # tools of Windows speak its language in its old code page
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{command[0]} did not end within {TIMEOUT_S} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ToolError(f"{command[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout.strip()


def shown(command: Sequence[str]) -> str:
    """Write a command the way a person types it."""
    return " ".join(f'"{word}"' if " " in word else word for word in command)
