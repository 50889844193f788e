"""One ICAP connection as its server sees it: bytes in, events out; commands in, bytes out. No I/O.

**Theory.** RFC 3507 looks like HTTP and differs in one thing: of a body a gateway may send a *preview* and
wait. The server then sends `100 Continue` and gets the rest, or answers, and the rest never comes. So there
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
reading  event                     result      next
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

`Pass` is `204 No Content`: the gateway goes on with what it has. It may be sent where `Allow: 204` was
announced, and to a preview as long as no more was asked for. `Finish(original=N)` ends a 206: the gateway
goes on with its own body from byte N on. What comes of a body after the answer is out is dropped, up to
`DRAIN_MAX_BYTES`.
"""

from enum import StrEnum
from typing import Final, assert_never

from secondlook.gateway.icap.framing import Frames, LastChunk
from secondlook.gateway.icap.heads import (
    Fields,
    HttpRequest,
    HttpResponse,
    IcapError,
    IcapHead,
    read_http_request,
    read_http_response,
    read_icap,
    write_http_request,
    write_http_response,
    write_icap,
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
        "_continued",
        "_dropped",
        "_frames",
        "_head",
        "_request",
        "_status",
        "answering",
        "closing",
        "reading",
    )

    def __init__(self) -> None:
        self.reading = Reading.HEAD
        self.answering = Answering.NONE
        self.closing = False  # no exchange follows this one
        self._frames = Frames()
        self._begin()

    def _begin(self) -> None:
        self._head: IcapHead | None = None  # whose encapsulated heads are still to come
        self._request: Request | None = None
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
        return not (begun or self._frames.buffer)

    @property
    def waiting_bytes(self) -> int:
        """How much came that is not looked at yet."""
        return len(self._frames.buffer)

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
        self._frames.buffer += data

    def next_event(self) -> Event | None:
        """Return what happened next; None until more comes, or until there is an answer. Raise IcapError."""
        if self.reading is Reading.BROKEN:
            return None
        try:
            while True:
                dropped = self.answering is Answering.DONE
                match self.reading:
                    case Reading.HEAD:
                        event: Event | None = self._read_head()
                    case Reading.PREVIEW | Reading.BODY:
                        event = self._read_body()
                    case Reading.WAITING | Reading.DONE | Reading.BROKEN:
                        event = None
                    case other:
                        assert_never(other)
                if event is None or not dropped:
                    return event
                self._dropped += len(event.data) if isinstance(event, Data) else 0
                if self.over:
                    return None
        except IcapError:
            self.reading = Reading.BROKEN
            self._frames.buffer.clear()
            raise

    def send(self, command: Command) -> bytes:
        """Return the bytes of it. Raise OutOfTurnError."""
        match command:
            case Continue():
                self._allow(command, self.answering is Answering.NONE and self.reading is Reading.WAITING)
                self._continued, self.reading, self._frames.allowed = True, Reading.BODY, None
                return b"ICAP/1.0 100 Continue\r\n\r\n"
            case Pass(fields):
                self._allow(command, self.may_pass)
                data = write_icap(204, fields, b"null-body=0", closing=self.closing)
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
        """Return the answer to a sender whose bytes are not understood; the connection ends after it."""
        self.closing = True
        self.reading = Reading.BROKEN
        if self.answering is not Answering.NONE:
            return b""
        self.answering = Answering.DONE
        return write_icap(error.status, fields, b"null-body=0", closing=True)

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
        return write_icap(command.status, command.fields, at, closing=self.closing) + head

    def _read_head(self) -> Request | None:
        frames = self._frames
        if self._head is None:
            data = frames.head("the head")
            if data is None:
                return None
            self._head = read_icap(data)
            self.closing = self.closing or self._head.closing
        head = self._head
        heads = frames.take(head.encapsulated.heads_bytes)
        if heads is None:
            return None
        request = response = None
        if (section := head.encapsulated.request) is not None:
            request = read_http_request(heads[section.start : section.end])
        if (section := head.encapsulated.response) is not None:
            response = read_http_response(heads[section.start : section.end])
        self._head, self._request = None, Request(head, request, response)
        if not head.encapsulated.body:
            self.reading = Reading.DONE
        elif head.preview is not None:
            self.reading, frames.allowed = Reading.PREVIEW, head.preview
        else:
            self.reading, frames.allowed = Reading.BODY, None
        return self._request

    def _read_body(self) -> Data | PreviewEnd | End | None:
        found = self._frames.chunk()
        if found is None:
            return None
        if not isinstance(found, LastChunk):
            return Data(found)
        in_preview = self.reading is Reading.PREVIEW
        if found.ieof and not in_preview:
            raise IcapError("ieof after a body that is no preview")
        if in_preview and not found.ieof:
            begun = self.answering is not Answering.NONE
            self.reading = Reading.DONE if begun else Reading.WAITING
            self._turn()
            return PreviewEnd()
        self.reading = Reading.DONE
        self._turn()
        return End(found.trailers)
