"""Bytes to numbered lines in bounded memory: byte-order marks, line ends, endless lines."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain

MAX_LINE_CHARS = 131_072
TOO_LONG_MARK = "\x00too long\x00"  # stands for a line that was dropped; NUL is in no line that is understood

type Batch = tuple[int, list[str]]  # number of the first line, then the lines


def _decoded(chunks: Iterable[bytes]) -> Iterator[str]:
    """Decode UTF-8 (bad bytes become surrogates) or, after its byte-order mark, UTF-16."""
    iterator = iter(chunks)
    head = b""
    for chunk in iterator:
        head += chunk
        if len(head) >= 4:  # noqa: PLR2004
            break
    encoding = "utf-8"
    if head.startswith(codecs.BOM_UTF8):
        head = head[len(codecs.BOM_UTF8) :]
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    errors = "surrogateescape" if encoding == "utf-8" else "replace"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    yield decoder.decode(head)
    for chunk in iterator:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def text_chunks(chunks: Iterable[bytes]) -> Iterator[str]:
    """Return the text of a file piece by piece, never an empty piece."""
    return (piece for piece in _decoded(chunks) if piece)


def batches(chunks: Iterable[bytes]) -> Iterator[Batch]:
    """Return the lines of a file, without their ends, in batches.

    Lines end at LF or CRLF, in a file without any LF at CR. A line over `MAX_LINE_CHARS` is replaced by
    `TOO_LONG_MARK`.
    """
    number = 1
    parts: list[str] = []
    held = 0
    end, pieces = _line_end(text_chunks(chunks))
    for piece in pieces:
        head, newline, rest = piece.partition(end)
        if not newline:
            held += len(head)
            if held <= MAX_LINE_CHARS:
                parts.append(head)
            else:
                parts.clear()
            continue
        first = TOO_LONG_MARK if held + len(head) > MAX_LINE_CHARS else "".join(parts) + head
        lines = [first, *rest.split(end)]
        last = lines.pop()
        yield number, _trimmed(lines)
        number += len(lines)
        held = len(last)
        parts = [last] if held <= MAX_LINE_CHARS else []
    if held:
        yield number, _trimmed([TOO_LONG_MARK if held > MAX_LINE_CHARS else "".join(parts)])


def _line_end(pieces: Iterator[str]) -> tuple[str, Iterator[str]]:
    """Return how lines end by the first characters of a file, wherever its pieces are cut."""
    head: list[str] = []
    size = 0
    for piece in pieces:
        head.append(piece)
        size += len(piece)
        if "\n" in piece or size >= MAX_LINE_CHARS:
            break
    text = "".join(head)[:MAX_LINE_CHARS]
    return "\r" if "\r" in text and "\n" not in text else "\n", chain(head, pieces)


def _trimmed(lines: list[str]) -> list[str]:
    if max(map(len, lines)) > MAX_LINE_CHARS:
        lines = [TOO_LONG_MARK if len(line) > MAX_LINE_CHARS else line for line in lines]
    return [line[:-1] if line[-1:] == "\r" else line for line in lines]
