"""Whether the configuration file still holds what the running proxy has read. Standard library only."""

from pathlib import Path
from typing import Any

FAULT_EXIT = 2  # of what reads the configuration: there is a fault, and its words are what was written


def changed(config: str | None, reload: str, refused: str | None = None) -> str:
    """Return that a configuration is not in force, and which command puts it there.

    `refused` is why the last reading of it came to nothing, where it did.
    """
    why = f" (the last time it was refused: {refused})" if refused else ""
    return f"{config} has changed since the proxy read it; `{reload}` puts it in force{why}"


def digest_of(config: str | None) -> str | None:
    """Return the SHA-256 (hex) of a configuration file; None where there is none or it cannot be read."""
    from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, of which no help of a command has a use

    if config is None:
        return None
    try:
        return sha256(Path(config).read_bytes()).hexdigest()
    except OSError:
        return None


def differs(config: str | None, read: str | None) -> bool:
    """Return whether a file differs from the digest of what was read of it."""
    return digest_of(config) != read


def reading_ended(running: dict[str, Any], readings: int, wanted: str | None) -> bool:
    """Return whether a reading after the first `readings` has come to its end.

    It was refused, or all that was running before has been replaced by what works with the `wanted` file.
    """
    settings = running["settings"]
    if settings["readings"] <= readings or settings["reading"]:
        return False
    return bool(settings["refused"] or (settings["in_force"] and settings["file"] == wanted))


def changed_since_read(running: dict[str, Any]) -> bool:
    """Return whether the file differs from what the proxy of these facts (`run.json`) works with."""
    read = running.get("settings")  # absent: the proxy is of an older version
    return read is not None and differs(running["invocation"]["config"], read["file"])
