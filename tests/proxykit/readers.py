"""Other readers of HTTP/1 than ours: llhttp and h11."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

import h11
import httptools
from h11._connection import _body_framing


def framed(method: bytes, event: h11.Request | h11.Response) -> int | None:
    """How long h11 takes a body to be."""
    kind, size = _body_framing(method, event)
    return size[0] if size else {"chunked": None, "http/1.0": -1}[kind]


def same(fields, others) -> bool:
    return [_plain(*one) for one in fields] == [_plain(*one) for one in others]


def _plain(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Write a field so that it can be compared: h11 gives codings, whose case has no meaning, in lower case."""
    name, value = name.lower(), value.strip()
    return name, value.lower() if name == b"transfer-encoding" else value


@dataclass
class Read:
    """One message, as llhttp reads it."""

    parser: Any = None
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    whole: int = 0  # messages that came to their end

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.whole += 1


def llhttp(kind: type, data: bytes) -> Read:
    """Read a whole message by llhttp."""
    read = Read()
    read.parser = kind(read)
    with contextlib.suppress(httptools.HttpParserUpgrade):
        read.parser.feed_data(data)
    return read
