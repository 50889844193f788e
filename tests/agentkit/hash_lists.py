"""Hash lists of any hashes, and what a list holds."""

import hashlib
from array import array
from collections.abc import Iterable

from secondlook.core.lists.format import BUCKETS, HEADER, KEY_BYTES, MAGIC, VERSION
from secondlook.core.lists.hashlist import HashList


def build(hashes: Iterable[bytes], width: int) -> bytes:
    """A list file of the distinct `width`-byte prefixes of `hashes`, made without numpy."""
    entries = sorted({full_hash[:width] for full_hash in hashes})
    key_bytes = min(width, KEY_BYTES)
    keys = array("Q" if key_bytes == KEY_BYTES else "I", b"".join(entry[:key_bytes] for entry in entries))
    keys.byteswap()
    index = array("I")
    for at, entry in enumerate(entries):  # `at` is the first of its slot, and of the empty ones before it
        index += array("I", (at,)) * ((entry[0] << 8 | entry[1]) + 1 - len(index))
    index += array("I", (len(entries),)) * (BUCKETS + 1 - len(index))
    checksum = hashlib.sha256(b"".join(entries)).digest()
    return b"".join(
        (
            HEADER.pack(MAGIC, VERSION, width, len(entries), checksum),
            index.tobytes(),
            bytes(4),
            keys.tobytes(),
            *(entry[key_bytes:] for entry in entries),
        )
    )


def entries_of(hash_list: HashList) -> list[bytes]:
    """Every entry in ascending order."""
    width = hash_list.width
    return [
        block[start : start + width] for block in hash_list.blocks() for start in range(0, len(block), width)
    ]
