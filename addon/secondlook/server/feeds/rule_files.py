"""Rules as a feed brings them: one text, or the rule files of an archive (zip, tar), laid out as flat files.

Names in an archive are its maker's: only their plain letters are kept, and no folder.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from secondlook.feeds.unpacking.archive import members
from secondlook.ground.errors import PatternError
from secondlook.scan.rule_keeper import ENDINGS, MOST_FILES
from secondlook.server.store.importing import file_chunks

MOST_BYTES = 256 << 20  # of all that an archive unpacks to, whatever it is
_NAME_CHARS = 120
_NO_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


def unpack_rules(path: Path, folder: Path, name: str) -> list[tuple[str, str]]:
    """Write the rules of a feed into a folder; return for each file what people call it, and its name there.

    Raises PatternError for what cannot be unpacked, is too much, or holds no rules.
    """
    found: list[tuple[str, str]] = []
    left = MOST_BYTES

    def counted(stream: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal left
        for piece in stream:
            left -= len(piece)
            if left < 0:
                raise PatternError(f"{name}: unpacks to more than {MOST_BYTES} bytes")
            yield piece

    for member, stream in members(file_chunks(path), ""):
        if member and not _is_rules(member):
            for _ in counted(stream):
                pass  # what is left out is unpacked all the same
            continue
        if len(found) >= MOST_FILES:
            raise PatternError(f"{name}: more than {MOST_FILES} files of rules in the archive")
        file_name = f"{len(found):04d}-{_plain(member or f'{name}.yar')}"
        with (folder / file_name).open("wb") as file:
            file.writelines(counted(stream))
        found.append((f"{name}/{member}" if member else name, file_name))
    if not found:
        raise PatternError(f"{name}: no file in the archive ends in {' or '.join(sorted(ENDINGS))}")
    return found


def _is_rules(member: str) -> bool:
    path = PurePosixPath(member)
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def _plain(member: str) -> str:
    return _NO_PLAIN.sub("_", member)[-_NAME_CHARS:]
