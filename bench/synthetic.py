"""A server's folder with as many synthetic entries as wanted, made without parsing text."""

import time
from pathlib import Path

import numpy as np

from secondlook.server.store.names import import_list
from secondlook.server.store.records import NO_TEXT, RECORD, RunWriter
from secondlook.server.store.store import ServerStore, Source

BATCH = 1_000_000


def hashes(seed: int, count: int) -> np.ndarray:
    """Rows of 32 random bytes; the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, size=(count, 32), dtype=np.uint8)


def add_source(
    store: ServerStore, count: int, *, seed: int, name: str = "synthetic", list_name: str = "mw-8b"
) -> None:
    """Put a source of random full hashes into a store, as an import would."""
    source_id, folder = store.new_source(name)
    writer = RunWriter(folder)
    done = 0
    while done < count:
        size = min(BATCH, count - done)
        records = np.zeros(size, dtype=RECORD)
        records.view(np.uint8).reshape(size, RECORD.itemsize)[:, :32] = hashes(seed + done, size)
        records["text"] = NO_TEXT
        writer.add(records.tobytes())
        done += size
    (folder / "texts").touch()
    distinct = writer.finish(folder / "records")
    store.keep_source(
        Source(
            id=source_id,
            name=name,
            kind="import",
            list=import_list(list_name).name,
            format="synthetic",
            who="bench",
            added_at=time.time(),
            sha256="",
            counts={list_name: distinct},
        ),
        folder,
    )


def sampled(seed: int, count: int) -> list[bytes]:
    """The first hashes of a source made with this seed."""
    return [bytes(row) for row in hashes(seed, min(count, BATCH))[:10_000]]


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
