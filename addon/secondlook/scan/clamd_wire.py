"""clamd's protocol, no I/O: what is sent, and what an answer means (clamd(8), "COMMANDS").

Commands end with a zero byte and so do their answers. A file goes as chunks with their length before them,
and a chunk of no length ends it. Whatever else comes is a fault, never a clean file.
"""

import struct
from calendar import timegm
from dataclasses import dataclass
from time import strptime

from secondlook.core.scan import Detection, from_clamav

BEGIN = b"zINSTREAM\0"
END = bytes(4)
ASK_VERSION = b"zVERSION\0"
MOST_CHUNK_BYTES = 1 << 20
MOST_ANSWER_BYTES = 4096
_LENGTH = struct.Struct(">I")
_OK, _FOUND, _ERROR = "stream: OK", " FOUND", " ERROR"
_STREAM = "stream: "
_TOO_LARGE = "INSTREAM size limit exceeded."
_SHOWN_CHARS = 200


class ClamdError(Exception):
    """No answer about a file; `away`: whoever asks again now fares no better."""

    def __init__(self, reason: str, *, away: bool = True) -> None:
        super().__init__(reason)
        self.away = away


@dataclass(frozen=True, slots=True)
class ClamdVersion:
    """What `VERSION` answers: its text, and when the database was made (Unix seconds), where it says so."""

    text: str
    database: int | None = None
    made_at: float | None = None


def chunk(data: bytes) -> bytes:
    """Return a piece of a file as it is sent; at most `MOST_CHUNK_BYTES`, never empty."""
    assert 0 < len(data) <= MOST_CHUNK_BYTES
    return _LENGTH.pack(len(data)) + data


def read_answer(answer: bytes) -> tuple[Detection, ...]:
    """Return what was found in a file. Raises ClamdError for everything but a plain yes or no."""
    text = _text(answer)
    if text == _OK:
        return ()
    if text.startswith(_STREAM) and text.endswith(_FOUND):
        name = text.removeprefix(_STREAM).removesuffix(_FOUND)
        if name and name.isprintable():
            found = from_clamav(name)
            if found is None:
                raise ClamdError(f"not looked into all of it: {name}"[:_SHOWN_CHARS], away=False)
            return (found,)
    if text.startswith(_TOO_LARGE):
        raise ClamdError("larger than its StreamMaxLength", away=False)
    if text.endswith(_ERROR):
        raise ClamdError(f"it answers: {_shown(text)}")
    raise ClamdError(f"no answer of clamd's: {_shown(text)}")


def read_version(answer: bytes) -> ClamdVersion:
    """Read `ClamAV 1.4.3/27500/Mon Jan  5 10:00:00 2026`; without a database only the first part is there."""
    text = _text(answer)
    if not text.startswith("ClamAV ") or not text.isprintable():
        raise ClamdError(f"no version of clamd's: {_shown(text)}")
    parts = text.split("/", 2)
    if len(parts) < 3 or not parts[1].isdecimal():  # noqa: PLR2004 - program, database, date
        return ClamdVersion(text[:_SHOWN_CHARS])
    try:
        made_at: float | None = float(timegm(strptime(parts[2].strip(), "%a %b %d %H:%M:%S %Y")))
    except ValueError:
        made_at = None
    return ClamdVersion(text[:_SHOWN_CHARS], int(parts[1]), made_at)


def _text(answer: bytes) -> str:
    if not answer.endswith(b"\0") or answer.count(b"\0") != 1:
        raise ClamdError("it ended its answer in the middle" if answer else "it closed without an answer")
    return answer[:-1].decode("utf-8", "replace").strip()


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:_SHOWN_CHARS]
