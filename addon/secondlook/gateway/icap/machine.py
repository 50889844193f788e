"""One ICAP connection as its server sees it: bytes in, events out; commands in, bytes out. No I/O.

**Theory.** RFC 3507 looks like HTTP and differs in one thing: of a body a gateway may send a *preview* and
wait. The server then says `100 Continue` and gets the rest, or answers, and the rest never comes. So there
are two small machines, as in h11: what is being *read*, and what of the *answer* is out. They meet at the
preview's end (whoever waits is released by the answer) and at the end of an exchange, where both begin anew.

Five rules hold whatever comes, in whatever pieces:

1. the data of the events are what stood in the chunks, in order, each byte once;
2. an exchange begins only after the one before it is over, so pipelined requests wait unread, in order;
3. what is not RFC 3507 is one `IcapError`, after which nothing more is read;
4. nothing is kept that is larger than the heads of one message (64 KiB each) or than what one read brought;
5. a client is never left out of step: where the rest of a body nobody wants is small, it is read and dropped,
   else the connection ends after the answer.

```
reading  event                     told        next
head     head, no body             Request     done
head     head, preview             Request     preview
head     head, body                Request     body
preview  data                      Data        preview
preview  end, ieof                 End         done
preview  end, unanswered           PreviewEnd  waiting
preview  end, answered (begun)     PreviewEnd  done
waiting  Continue                  -           body
waiting  Pass                      -           done
waiting  Answer                    -           done
body     data                      Data        body
body     end                       End         done
done     the answer is out         -           head
any      nonsense                  IcapError   broken
```

```
answer   command                   needs                       next
none     Continue                  waiting                     none
none     Pass                      announced, or in a preview  done
none     Answer, empty             -                           done
none     Answer, body              -                           body
body     More                      -                           body
body     Finish                    -                           done
body     Finish, original          206, announced              done
```

`Pass` is `204 No Content`: the gateway goes on with what it has. It may be said where `Allow: 204` was
announced, and to a preview as long as no more was asked for. `Finish(original=N)` ends a 206: the gateway
goes on with its own body from byte N on. What comes of a body after the answer is out is dropped, up to
`DRAIN_MAX_BYTES`.
"""

import re
from enum import StrEnum
from typing import Final, assert_never

from secondlook.gateway.icap.heads import (
    CHUNK_MAX_BYTES,
    HEAD_MAX_BYTES,
    Fields,
    HttpRequest,
    HttpResponse,
    IcapError,
    IcapHead,
    read_fields,
    read_http_request,
    read_http_response,
    read_icap,
    write_http_request,
    write_http_response,
)
from secondlook.gateway.icap.messages import (
    Answer,
    Command,
    Continue,
    Data,
    End,
    Event,
    Finish,
    More,
    Pass,
    PreviewEnd,
    Request,
)

DRAIN_MAX_BYTES: Final = 1 << 20  # of a body that nobody wants, before the connection ends instead
CHUNK_LINE_MAX_BYTES: Final = 1024
REASONS: Final = {
    100: b"Continue",
    200: b"OK",
    204: b"No Content",
    206: b"Partial Content",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"ICAP Service Not Found",
    405: b"Method Not Allowed For Service",
    408: b"Request Timeout",
    500: b"Server Error",
    503: b"Service Overloaded",
    505: b"ICAP Version Not Supported",
}
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n\0]*)?\r\n")
_IEOF = re.compile(rb";[ \t]*ieof[ \t]*(?:;.*)?")
_PARTIAL = 206


class Reading(StrEnum):
    """What is being read."""

    HEAD = "head"
    PREVIEW = "preview"
    WAITING = "waiting"
    BODY = "body"
    DONE = "done"
    BROKEN = "broken"


class Answering(StrEnum):
    """What of the answer is out."""

    NONE = "none"
    BODY = "body"
    DONE = "done"


class OutOfTurnError(Exception):
    """A command that the table has no row for: a fault of whoever gives it."""


class IcapMachine:
    """One connection (see the tables above)."""

    __slots__ = (
        "_buffer",
        "_continued",
        "_dropped",
        "_head",
        "_left",
        "_preview_left",
        "_request",
        "_searched",
        "_status",
        "answering",
        "closing",
        "reading",
    )

    def __init__(self) -> None:
        self.reading = Reading.HEAD
        self.answering = Answering.NONE
        self.closing = False  # no exchange follows this one
        self._buffer = bytearray()
        self._searched = 0
        self._begin()

    def _begin(self) -> None:
        self._head: IcapHead | None = None  # whose encapsulated heads are still to come
        self._request: Request | None = None
        self._left: int | None = None  # of the chunk that is being read; None: its line is next
        self._preview_left = 0
        self._continued = False
        self._dropped = 0
        self._status = 0

    @property
    def over(self) -> bool:
        """Whether the connection is to be closed: nothing more is read or answered."""
        if self.reading is Reading.BROKEN:
            return True
        if self.answering is not Answering.DONE:
            return False
        return (self.closing and self.reading is Reading.DONE) or self._dropped > DRAIN_MAX_BYTES

    @property
    def idle(self) -> bool:
        """Whether no exchange is under way, and nothing came of the next."""
        begun = self.reading is not Reading.HEAD or self._head is not None
        return not (begun or self._buffer)

    @property
    def waiting_bytes(self) -> int:
        """How much came that is not looked at yet."""
        return len(self._buffer)

    @property
    def may_pass(self) -> bool:
        """Whether `Pass` would be understood now."""
        request = self._request
        if request is None or self.answering is not Answering.NONE:
            return False
        return b"204" in request.head.allow or (request.head.preview is not None and not self._continued)

    @property
    def may_use_original(self) -> bool:
        """Whether a 206 would be understood now."""
        request = self._request
        return (
            request is not None and self.answering is Answering.NONE and b"206" in request.head.allow
        ) and not self._continued

    def receive(self, data: bytes) -> None:
        """Take the next bytes from the gateway."""
        self._buffer += data

    def next_event(self) -> Event | None:
        """Return what happened next; None until more comes, or until there is an answer. Raise IcapError."""
        if self.reading is Reading.BROKEN:
            return None
        try:
            while True:
                dropped = self.answering is Answering.DONE
                event = self._next()
                if event is None or not dropped:
                    return event
                self._dropped += len(event.data) if isinstance(event, Data) else 0
                if self.over:
                    return None
        except IcapError:
            self.reading = Reading.BROKEN
            self._buffer.clear()
            raise

    def send(self, command: Command) -> bytes:
        """Return the bytes that say it. Raise OutOfTurnError."""
        match command:
            case Continue():
                self._allow(command, self.answering is Answering.NONE and self.reading is Reading.WAITING)
                self._continued, self.reading = True, Reading.BODY
                return b"ICAP/1.0 100 Continue\r\n\r\n"
            case Pass(fields):
                self._allow(command, self.may_pass)
                data = self._answer_head(204, fields, b"null-body=0")
                self._answered(Answering.DONE)
                return data
            case Answer():
                self._allow(command, self.answering is Answering.NONE and self._request is not None)
                self._allow(command, command.status != _PARTIAL or (self.may_use_original and command.body))
                data = self._answer(command)
                self._answered(Answering.BODY if command.body else Answering.DONE)
                return data
            case More(data):
                self._allow(command, self.answering is Answering.BODY)
                return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            case Finish(original):
                partial = self._status == _PARTIAL
                self._allow(command, self.answering is Answering.BODY and (original is None or partial))
                self._answered(Answering.DONE)
                return b"0\r\n\r\n" if original is None else b"0; use-original-body=%d\r\n\r\n" % original
            case other:
                assert_never(other)

    def refuse(self, error: IcapError, fields: Fields = ()) -> bytes:
        """Return what a sender is told whose bytes are not understood; the connection ends after it."""
        self.closing = True
        self.reading = Reading.BROKEN
        if self.answering is not Answering.NONE:
            return b""
        self.answering = Answering.DONE
        return self._answer_head(error.status, fields, b"null-body=0")

    @staticmethod
    def _allow(command: Command, allowed: bool) -> None:
        if not allowed:
            raise OutOfTurnError(f"out of turn: {command!r}"[:200])

    def _answered(self, answering: Answering) -> None:
        self.answering = answering
        if self.reading is Reading.WAITING:
            self.reading = Reading.DONE
        self._turn()

    def _turn(self) -> None:
        """Begin anew where an exchange is over."""
        over = self.reading is Reading.DONE and self.answering is Answering.DONE
        if over and not self.closing:
            self.reading, self.answering = Reading.HEAD, Answering.NONE
            self._begin()

    def _answer(self, command: Answer) -> bytes:
        self._status = command.status
        body = b"null-body"
        head = kind = b""
        match command.http:
            case HttpRequest():
                head, kind = write_http_request(command.http), b"req"
            case HttpResponse():
                head, kind = write_http_response(command.http), b"res"
            case None:
                kind = b"opt"
        if command.body:
            body = kind + b"-body"
        at = b"%s-hdr=0, %s=%d" % (kind, body, len(head)) if head else body + b"=0"
        return self._answer_head(command.status, command.fields, at) + head

    def _answer_head(self, status: int, fields: Fields, encapsulated: bytes) -> bytes:
        lines = b"".join([b"%b: %b\r\n" % field for field in fields])
        end = b"Connection: close\r\n" if self.closing else b""
        return b"ICAP/1.0 %d %b\r\n%b%bEncapsulated: %b\r\n\r\n" % (
            status,
            REASONS.get(status, b"Unknown"),
            lines,
            end,
            encapsulated,
        )

    def _next(self) -> Event | None:
        match self.reading:
            case Reading.HEAD:
                return self._read_head()
            case Reading.PREVIEW | Reading.BODY:
                return self._read_chunk()
            case Reading.WAITING | Reading.DONE | Reading.BROKEN:
                return None
            case other:
                assert_never(other)

    def _read_head(self) -> Request | None:
        buffer = self._buffer
        if self._head is None:
            while buffer[:2] == b"\r\n":  # of a client that says more at the end of a body than it should
                del buffer[:2]
            data = self._take_head("the head")
            if data is None:
                return None
            self._head = read_icap(data)
            self.closing = self.closing or self._head.closing
        head = self._head
        heads_bytes = head.encapsulated.heads_bytes
        if len(buffer) < heads_bytes:
            return None
        request = response = None
        if (section := head.encapsulated.request) is not None:
            request = read_http_request(bytes(buffer[section.start : section.end]))
        if (section := head.encapsulated.response) is not None:
            response = read_http_response(bytes(buffer[section.start : section.end]))
        del buffer[:heads_bytes]
        self._head, self._request = None, Request(head, request, response)
        if not head.encapsulated.body:
            self.reading = Reading.DONE
        elif head.preview is not None:
            self.reading, self._preview_left = Reading.PREVIEW, head.preview
        else:
            self.reading = Reading.BODY
        return self._request

    def _read_chunk(self) -> Data | PreviewEnd | End | None:
        buffer = self._buffer
        if self._left == 0 and not self._take_chunk_end():
            return None
        if self._left is None:
            found = self._take_chunk_line()
            if not isinstance(found, int):
                return found
            self._left = found
        if not buffer:
            return None
        data = bytes(buffer[: self._left])
        del buffer[: self._left]
        self._left -= len(data)
        return Data(data)

    def _take_chunk_line(self) -> int | PreviewEnd | End | None:
        """Take the size of a chunk; where it is the last, what that ends. None until it is here."""
        buffer = self._buffer
        end = buffer.find(b"\n", 0, CHUNK_LINE_MAX_BYTES)
        if end < 0:
            if len(buffer) >= CHUNK_LINE_MAX_BYTES:
                raise IcapError(f"a chunk's line is longer than {CHUNK_LINE_MAX_BYTES} bytes")
            return None
        line = _CHUNK_LINE.fullmatch(buffer, 0, end + 1)
        if line is None:
            raise IcapError(f"expected the size of a chunk, got {bytes(buffer[: min(end, 60)])!r}"[:120])
        size = int(line[1], 16)
        if size > CHUNK_MAX_BYTES:
            raise IcapError(f"a chunk is larger than {CHUNK_MAX_BYTES} bytes")
        if not size:
            return self._read_end(end + 1, bytes(line[2] or b""))
        if self.reading is Reading.PREVIEW:
            self._preview_left -= size
            if self._preview_left < 0:
                raise IcapError("the preview is longer than it said")
        del buffer[: end + 1]
        return size

    def _take_chunk_end(self) -> bool:
        """Take the line end after the bytes of a chunk; False until it is here."""
        end = self._buffer[:2]
        if end != b"\r\n":
            if not b"\r\n".startswith(end):
                raise IcapError("a chunk is longer than it said")
            return False
        del self._buffer[:2]
        self._left = None
        return True

    def _read_end(self, start: int, extension: bytes) -> PreviewEnd | End | None:
        """Read what follows the last chunk's line: trailers, and an empty line."""
        buffer = self._buffer
        trailers: Fields = ()
        if buffer[start : start + 2] == b"\r\n":
            end = start + 2
        else:
            found = buffer.find(b"\r\n\r\n", start)
            if found < 0 and len(buffer) - start <= HEAD_MAX_BYTES:
                return None
            if not 0 <= found - start <= HEAD_MAX_BYTES:
                raise IcapError(f"trailers are larger than {HEAD_MAX_BYTES} bytes")
            end = found + 4
            trailers = read_fields(bytes(buffer[start:end]), 0, "trailers: ")
        whole = _IEOF.fullmatch(extension) is not None
        if whole and self.reading is not Reading.PREVIEW:
            raise IcapError("ieof after a body that is no preview")
        del buffer[:end]
        if self.reading is Reading.PREVIEW and not whole:
            begun = self.answering is not Answering.NONE
            self.reading = Reading.DONE if begun else Reading.WAITING
            self._turn()
            return PreviewEnd()
        self.reading = Reading.DONE
        self._turn()
        return End(trailers)

    def _take_head(self, name: str) -> bytes | None:
        """Take a head with its empty line; None until it is whole."""
        buffer = self._buffer
        found = buffer.find(b"\r\n\r\n", self._searched)
        # However it comes: what would be refused before its end is here is refused with its end here, too.
        if buffer.find(b"\n\n", self._searched, found if found >= 0 else len(buffer)) >= 0:
            raise IcapError(f"{name}: its lines do not end with CR LF")
        if found < 0:
            if len(buffer) > HEAD_MAX_BYTES:
                raise IcapError(f"{name} is larger than {HEAD_MAX_BYTES} bytes")
            self._searched = max(0, len(buffer) - 3)
            return None
        self._searched = 0
        if found + 4 > HEAD_MAX_BYTES:
            raise IcapError(f"{name} is larger than {HEAD_MAX_BYTES} bytes")
        data = bytes(buffer[: found + 4])
        del buffer[: found + 4]
        return data
