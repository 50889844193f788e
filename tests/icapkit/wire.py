"""What a gateway sends, written by hand: messages of RFC 3507, and a reader of what comes back."""

from dataclasses import dataclass, field

PAGE_REQUEST = b"GET http://site.test/page HTTP/1.1\r\nHost: site.test\r\nAccept: text/html\r\n\r\n"
PAGE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 11\r\n\r\n"


def message(
    method: str,
    service: str,
    *,
    request: bytes = b"",
    response: bytes = b"",
    body: str | None = None,
    headers: str = "",
) -> bytes:
    """Write the head of an ICAP request, and the HTTP heads in it."""
    sections = []
    at = 0
    for name, http in (("req-hdr", request), ("res-hdr", response)):
        if http:
            sections.append(f"{name}={at}")
            at += len(http)
    sections.append(f"{body or 'null-body'}={at}")
    head = f"{method} icap://gate.test/{service} ICAP/1.0\r\nHost: gate.test\r\n{headers}"
    return f"{head}Encapsulated: {', '.join(sections)}\r\n\r\n".encode() + request + response


def chunked(data: bytes, size: int = 4096) -> bytes:
    """Write chunks, without the last."""
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


@dataclass
class Reply:
    """One answer of the server."""

    status: int
    fields: dict[str, str]
    head: bytes = b""
    body: bytes = b""
    whole: bool = False
    original: int | None = None
    interim: list[int] = field(default_factory=list)


def read_replies(data: bytes) -> list[Reply]:
    """Read answers one after the other, by the letter; the last may be torn."""
    replies: list[Reply] = []
    interim: list[int] = []
    while data:
        lines, separator, data = data.partition(b"\r\n\r\n")
        assert separator, f"a torn head: {lines!r}"
        first, *rest = lines.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "ICAP/1.0"
        if status == "100":
            interim.append(100)
            continue
        reply = Reply(int(status), dict(line.lower().split(": ", 1) for line in rest), interim=interim)
        interim = []
        replies.append(reply)
        sections = [part.strip().split("=") for part in reply.fields["encapsulated"].split(",")]
        kind, size = sections[-1][0], int(sections[-1][1])
        reply.head, data = data[:size], data[size:]
        reply.whole = kind == "null-body"
        while not reply.whole and data:
            line, _, data = data.partition(b"\r\n")
            digits, _, extension = line.partition(b";")
            count = int(digits, 16)
            if not count:
                assert data.startswith(b"\r\n")
                data, reply.whole = data[2:], True
                if extension:
                    reply.original = int(extension.decode().partition("use-original-body=")[2])
                break
            reply.body += data[:count]
            if len(data) < count:
                return replies
            assert data[count : count + 2] == b"\r\n"
            data = data[count + 2 :]
    return replies
