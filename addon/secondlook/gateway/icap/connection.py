"""One connection of a gateway: the machine with a transport, and the exchanges on it, one after the other.

```
bytes ──► machine ──Request──► an exchange (a task that begins at once, and mostly ends so)
             ▲                     │ next(): Data, PreviewEnd, End
             └── more is read ─────┘ send(): answers, written as fast as the gateway reads
```

Nothing more is read than the exchange takes, so a gateway that is faster than the disk, or than its own
client, is slowed down by TCP. An exchange that ends without an answer, or in the middle of one, ends the
connection: a gateway whose `bypass` is off lets its client see that.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

from secondlook.agent import metrics
from secondlook.gateway.icap.heads import IcapError
from secondlook.gateway.icap.machine import Answering, IcapMachine, Reading
from secondlook.gateway.icap.messages import Answer, Command, Event, Request

logger = logging.getLogger(__name__)

HEAD_TIME_S = 30.0  # from the first byte of a head to its last
LINGER_S = 2.0  # for a gateway that still sends while it is refused
_WAITING_MAX_BYTES = 256 << 10  # that came and were not taken: above it no more is read
_WRITE_MAX_BYTES = 256 << 10


class GoneError(ConnectionError):
    """The gateway hung up, or cannot be understood any more."""


class Front(Protocol):
    """Who answers, and counts connections."""

    def admit(self, connection: "IcapConnection", peer: str) -> int | None:
        """Count a connection; return the status of its only answer where it is not wanted."""

    def forget(self, connection: "IcapConnection") -> None:
        """Count one less."""

    def unread(self, error: IcapError) -> None:
        """Note that something was not understood."""

    def answer(self, link: "IcapConnection", request: Request) -> Awaitable[None]:
        """Answer one request."""


class IcapConnection(asyncio.Protocol):
    """A connection, and the link on which an exchange talks."""

    def __init__(self, front: Front) -> None:
        self.machine = IcapMachine()
        self.peer = ""  # the gateway's address
        self._front = front
        self._refusal: int | None = None
        self._exchange: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None  # of an exchange that wants more
        self._writable: asyncio.Future[None] | None = None  # of one that wants to write
        self._full = self._gone = self._paused = self._lingering = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_WRITE_MAX_BYTES)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""
        self._refusal = self._front.admit(self, self.peer)
        if self._refusal is not None:
            self._set_timer(HEAD_TIME_S)

    def connection_lost(self, _error: Exception | None) -> None:
        """Let the exchange know."""
        self._gone = True
        self._clear_timer()
        self._front.forget(self)
        for waiting in (self._waiter, self._writable):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def pause_writing(self) -> None:
        """Have the exchange wait."""
        self._full = True

    def resume_writing(self) -> None:
        """Let the exchange go on."""
        self._full = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        if self._lingering:
            return
        self.machine.receive(data)
        if self._exchange is None:
            self._work()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.machine.waiting_bytes > _WAITING_MAX_BYTES and not self._paused and not self._gone:
            self._paused = True
            self._transport.pause_reading()

    def end(self) -> None:
        """Let no exchange follow the one that is under way."""
        self.machine.closing = True
        if self._exchange is None and self.machine.reading is Reading.HEAD:
            self._transport.close()

    def abort(self) -> None:
        """End at once, so that the gateway sees that it has not everything."""
        self._gone = True
        self._transport.abort()

    # ---- the exchange's side

    async def next(self, timeout_s: float | None = None) -> Event | None:
        """Return what comes next of the body; None where that takes longer. Raise GoneError."""
        loop = asyncio.get_running_loop()
        while True:
            event = self._next_event()
            if event is not None:
                return event
            if self._gone:
                raise GoneError("the gateway has gone")
            self._read_on()
            self._waiter = waiter = loop.create_future()
            timer = loop.call_later(timeout_s, _wake, waiter) if timeout_s is not None else None
            await waiter
            self._waiter = None
            if timer is not None:
                if timer.when() <= loop.time():
                    return self._next_event()
                timer.cancel()

    def send(self, *commands: Command) -> None:
        """Carry out commands of the machine."""
        data = b"".join([self.machine.send(command) for command in commands])
        if data and not self._gone:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the gateway has taken most of what was sent. Raise GoneError."""
        while self._full and not self._gone:
            self._writable = asyncio.get_running_loop().create_future()
            await self._writable
            self._writable = None
        if self._gone:
            raise GoneError("the gateway has gone")

    def refuse(self, error: IcapError) -> None:
        """Answer what cannot be understood with an error, and hang up."""
        self._front.unread(error)
        refusal = self.machine.refuse(error)
        if not self._gone:
            self._transport.write(refusal)
            self._transport.close()
        self._gone = True

    # ---- between exchanges

    def _next_event(self) -> Event | None:
        try:
            return self.machine.next_event()
        except IcapError as error:
            self.refuse(error)
            return None

    def _work(self) -> None:
        """Begin exchanges until one has to wait, or nothing more is here."""
        self._clear_timer()
        loop = asyncio.get_running_loop()
        while not self._gone:
            event = self._next_event()
            if self.machine.over:
                self._hang_up()
                return
            if event is None:
                break
            assert isinstance(event, Request)
            task = asyncio.Task(self._converse(event), loop=loop, eager_start=True)
            if not task.done():
                self._exchange = task
                task.add_done_callback(self._done)
                return
        self._read_on()
        if not self.machine.idle and self.machine.reading is Reading.HEAD:
            self._set_timer(HEAD_TIME_S)

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._exchange = None
        if not self._gone:
            self._work()

    async def _converse(self, request: Request) -> None:
        try:
            if self._refusal is not None:
                self.machine.closing = True
                self.send(Answer(self._refusal))
                return
            await self._front.answer(self, request)
            if self.machine.answering is not Answering.DONE and self.machine.reading is not Reading.HEAD:
                self.abort()
        except GoneError:
            pass
        except Exception:
            logger.exception("an ICAP request could not be answered")
            metrics.INTERNAL_ERRORS.inc()
            self.abort()

    def _hang_up(self) -> None:
        """Close; where the gateway still sends, after a while: it would not get to read the answer."""
        if self._gone:
            return
        if self.machine.reading is not Reading.BODY:
            self._transport.close()
            return
        self._lingering = True
        self._read_on()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._set_timer(LINGER_S)

    def _read_on(self) -> None:
        if self._paused and not self._gone:
            self._paused = False
            self._transport.resume_reading()

    def _set_timer(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._late)

    def _clear_timer(self) -> None:
        if self._timer is not None and self._refusal is None and not self._lingering:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if not self._gone:
            self._transport.close()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
