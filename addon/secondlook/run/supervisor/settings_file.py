"""Whether the configuration file still says what the running proxy has read. Standard library only."""

import hashlib
from pathlib import Path
from typing import Any


def digest_of(config: str | None) -> str | None:
    """Return the SHA-256 (hex) of a configuration file; None where there is none or it cannot be read."""
    if config is None:
        return None
    try:
        return hashlib.sha256(Path(config).read_bytes()).hexdigest()
    except OSError:
        return None


def changed_since_read(running: dict[str, Any]) -> bool:
    """Return whether the file differs from what the proxy of these facts (`run.json`) works with."""
    read = running.get("settings")  # absent: the proxy is of an older version
    return read is not None and digest_of(running["invocation"]["config"]) != read["file"]
