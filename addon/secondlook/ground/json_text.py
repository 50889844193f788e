"""JSON out of a file, a store or a network, whatever somebody or a broken disk made of it."""

import json
from typing import Any


def read_json(text: str | bytes | bytearray) -> Any:
    """Read JSON. Raises ValueError, also for brackets that are nested too deeply to be read."""
    try:
        return json.loads(text)  # noqa: TID251 - here alone
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None
