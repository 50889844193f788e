"""Which kinds of archive a file may be taken for: by its beginning, its end, and what is in its middle."""

import io
from typing import IO

from secondlook.download.body.signatures import (
    BEHIND_WITHIN_BYTES,
    VOLUME_BYTES,
    VOLUMES,
    archive_behind,
    archive_kinds,
    image_at_end,
)
from secondlook.download.body.zip_end import ZIP_END_BYTES, ends_like_zip

BEHIND = "7z behind"  # other bytes
_LOOK_BYTES = 2048


def kinds_of(file: IO[bytes]) -> tuple[str, ...]:
    """Name the kinds of archive that a file may be taken for."""
    file.seek(0)
    kinds = archive_kinds(file.read(_LOOK_BYTES))
    for at, marks in VOLUMES:
        file.seek(at)
        if "disk image" not in kinds and file.read(VOLUME_BYTES).startswith(marks):
            kinds = (*kinds, "disk image")
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - ZIP_END_BYTES))
    last = file.read()
    if "zip" not in kinds and ends_like_zip(last, size):  # a self-extracting one, or with a picture before it
        kinds = (*kinds, "zip")
    if (image := image_at_end(last)) is not None:
        kinds = (*kinds, image)
    if "rar" not in kinds and (found := behind(file)) is not None:
        kinds = (*kinds, BEHIND if found[0] == "7z" else found[0])
    return kinds


def behind(file: IO[bytes]) -> tuple[str, int] | None:
    """Find an archive that other bytes stand before."""
    file.seek(1)
    found = archive_behind(file.read(BEHIND_WITHIN_BYTES))
    return None if found is None else (found[0], found[1] + 1)
