"""ClamAV's daemon over its socket: a file goes there in pieces, as it comes or from where it lies.

Each look has a connection of its own (`INSTREAM`). One that fails, hangs or lies is a fault, reported and
counted by a circuit (`core/asking/circuit.py`): while that is open nobody waits for the daemon, and a probe
looks every now and then whether it is back. Its version is asked for again now and then, as a new database
asks for a new look. A daemon with signatures of somebody's own alone names no database, whatever it is asked
(VERSION, STATS): its answer holds for an hour, and no longer than until it was away.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from secondlook.config.scan import ClamdSettings
from secondlook.core.asking.circuit import Circuit
from secondlook.core.scan import CLAMD, Detection, EngineReport
from secondlook.scan.clamd_wire import (
    ASK_VERSION,
    BEGIN,
    END,
    MOST_ANSWER_BYTES,
    MOST_CHUNK_BYTES,
    ClamdError,
    ClamdVersion,
    chunk,
    read_answer,
    read_version,
)
from secondlook.scan.results import Results

logger = logging.getLogger(__name__)

VERSION_HOLDS_S: Final = 30.0
BACKLOG_BYTES: Final = 1 << 20  # of one file that comes faster than clamd takes it
MOST_STREAMS: Final = 64  # files that are on their way at a time, in one process
_MOST_BACKOFF_S: Final = 30.0
_HOUR_S: Final = 3600.0
_CLOSED: Final = (
    "it closed the connection while the file was sent; its StreamMaxLength may be less than "
    "scan.clamd.max_bytes"
)


class Clamd:
    """One daemon; `on_change` hears that it went away (with the reason) or answers again (None)."""

    def __init__(
        self,
        settings: ClamdSettings,
        *,
        on_change: Callable[[str | None], None] = lambda _: None,
        now: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.known: ClamdVersion | None = None  # None: it has not answered, or is away
        self.trouble: str | None = None  # why nobody asks it now
        self._on_change = on_change
        self._now = now
        self._draw = draw
        self._circuit = Circuit(backoff_max_s=_MOST_BACKOFF_S)
        self._asked_at = float("-inf")
        self._back_at = 0  # since when it has answered, after it was away (Unix seconds)
        self._asking: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._streams = 0

    @property
    def version(self) -> str | None:
        """The name under which results are kept; None where it is not known which one would look now."""
        if self.known is None:
            return None
        if time.monotonic() - self._asked_at > VERSION_HOLDS_S:
            self._ask_soon()
        if self.known.database is not None:
            return self.known.text
        hour_began = int(self._now() // _HOUR_S * _HOUR_S)
        return f"{self.known.text} {max(hour_began, self._back_at)}"

    async def scan(self, pieces: AsyncIterator[bytes]) -> EngineReport:
        """Have a file looked into. Never raises (but for cancellation, and what `pieces` raises)."""
        started = time.monotonic()
        stream = self.begin()
        if isinstance(stream, str):
            return EngineReport(CLAMD, fault=stream)
        try:
            async for piece in pieces:
                stream.feed(piece)
                await stream.settle()
                if stream.failed:
                    break
            return await stream.end(started)
        finally:
            stream.close()

    def begin(self) -> "ClamdStream | str":
        """Begin with a file, or return why there is no use in it."""
        if not self._circuit.admits():
            return f"away: {self.trouble}"
        if self._streams >= MOST_STREAMS:
            return f"more than {MOST_STREAMS} files at a time"
        return ClamdStream(self)

    async def ask_version(self) -> ClamdVersion:
        """Ask for the version, and learn from it how the daemon is. Raises ClamdError."""
        try:
            version = await self._version()
        except ClamdError as fault:
            self.heard(fault)
            raise
        self._asked_at = time.monotonic()
        self.known = version
        self.heard(None)
        return version

    async def found_before(self, results: Results, digest: bytes, form: str = "") -> EngineReport | None:
        """Return what it found in a file before, or a fault if it does not answer; None: it has to look."""
        if self.version is None and self.trouble is None:
            try:
                await self.ask_version()
            except ClamdError as error:
                return EngineReport(CLAMD, fault=str(error))
        return None if self.version is None else await results.find(digest, form, CLAMD, self.version)

    def heard(self, fault: ClamdError | None) -> None:
        """Note an answer, or why there was none."""
        if fault is None:
            if self._circuit.succeeded():
                self.trouble = None
                self._back_at = int(self._now())
                self._on_change(None)
            return
        if fault.away and self._circuit.failed(time.monotonic(), self._draw()):
            self.known = None  # what comes back may have another database
            self.trouble = str(fault)
            self._on_change(self.trouble)
            self._probing = asyncio.ensure_future(self._probe())

    async def aclose(self) -> None:
        """Stop what runs in the background."""
        for task in (self._asking, self._probing):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def connect(self) -> socket.socket:
        """Connect. Raises ClamdError."""
        network = self.settings.network
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.settings.timeout):
                if network is None:
                    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    return await self._connected(loop, sock, self.settings.address)
                family = socket.AF_INET6 if ":" in network[0] else socket.AF_INET
                return await self._connected(loop, socket.socket(family, socket.SOCK_STREAM), network)
        except TimeoutError:
            raise ClamdError(f"no connection within {self.settings.timeout:g} s") from None
        except OSError as error:
            raise ClamdError(f"no connection ({_reason(error)})") from None

    @contextlib.asynccontextmanager
    async def conversation(self) -> AsyncIterator[socket.socket]:
        """Connect for one question and its answer. Raises ClamdError."""
        sock = await self.connect()
        try:
            yield sock
        except TimeoutError:
            raise ClamdError(f"no answer within {self.settings.timeout:g} s") from None
        except OSError as error:
            raise ClamdError(f"the connection broke ({_reason(error)})") from None
        finally:
            sock.close()

    @staticmethod
    async def _connected(
        loop: asyncio.AbstractEventLoop, sock: socket.socket, address: str | tuple[str, int]
    ) -> socket.socket:
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    def _ask_soon(self) -> None:
        self._asked_at = time.monotonic()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask_quietly())

    async def _ask_quietly(self) -> None:
        with contextlib.suppress(ClamdError):
            await self.ask_version()

    async def _version(self) -> ClamdVersion:
        async with self.conversation() as sock, asyncio.timeout(self.settings.timeout):
            await asyncio.get_running_loop().sock_sendall(sock, ASK_VERSION)
            return read_version(await _received(sock))

    async def _probe(self) -> None:
        """Ask again and again, ever more seldom, until the daemon answers."""
        while not self._circuit.admits():
            assert self._circuit.probe_at is not None
            await asyncio.sleep(max(0.02, self._circuit.probe_at - time.monotonic()))
            if self._circuit.probe(time.monotonic()):
                with contextlib.suppress(ClamdError):
                    await self.ask_version()


class ClamdStream:
    """One file on its way to clamd.

    `feed` never waits; who feeds faster than clamd takes it sees `congested`, and waits in `settle`.
    What fails on the way is raised at the end, and nothing more is kept of such a file.
    """

    def __init__(self, clamd: Clamd) -> None:
        self._clamd = clamd
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._taken = 0
        self._over = False  # nothing more comes
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        clamd._streams += 1  # noqa: SLF001 - both halves of one thing
        self._task = asyncio.ensure_future(self._run())
        self._task.add_done_callback(self._ended)

    @property
    def failed(self) -> bool:
        """Whether nothing can come of it any more."""
        return self._task.done()

    @property
    def congested(self) -> bool:
        """Whether the daemon is behind."""
        return not self._task.done() and self._waiting_bytes > BACKLOG_BYTES

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._task.done() or not data:
            return
        self._taken += len(data)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._more.set()
        if self._waiting_bytes > BACKLOG_BYTES:
            self._room.clear()

    async def settle(self) -> None:
        """Wait until the daemon has taken nearly all of what came."""
        if self.congested:
            room = asyncio.ensure_future(self._room.wait())
            await asyncio.wait((room, self._task), return_when=asyncio.FIRST_COMPLETED)
            room.cancel()

    async def end(self, started: float | None = None) -> EngineReport:
        """Report that the file is whole; return what the daemon found. Raises nothing but cancellation."""
        clamd = self._clamd
        began = time.monotonic() if started is None else started
        self._over = True
        self._more.set()
        await asyncio.wait((self._task,))
        elapsed_ms = (time.monotonic() - began) * 1000.0
        made_at = None if clamd.known is None else clamd.known.made_at
        error = self._task.exception()
        if error is None:
            found, version = self._task.result()
            return EngineReport(CLAMD, version, found, elapsed_ms=elapsed_ms, signatures_at=made_at)
        if not isinstance(error, ClamdError):
            raise error
        return EngineReport(CLAMD, clamd.version, fault=str(error), elapsed_ms=elapsed_ms)

    def close(self) -> None:
        """Give it up, if it has not ended."""
        if not self._closed:
            self._closed = True
            self._clamd._streams -= 1  # noqa: SLF001
            self._task.cancel()

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        self._room.set()
        if not task.cancelled():
            task.exception()  # it is raised in `end`, to whoever still wants to know

    async def _run(self) -> tuple[tuple[Detection, ...], str | None]:
        clamd = self._clamd
        if clamd.version is None:
            await clamd.ask_version()
        version = clamd.version
        try:
            found = await self._sent()
        except ClamdError as fault:
            clamd.heard(fault)
            raise
        clamd.heard(None)
        same = version == clamd.version  # else it is not known which database it was
        return found, version if same else None

    async def _sent(self) -> tuple[Detection, ...]:
        loop = asyncio.get_running_loop()
        timeout_s = self._clamd.settings.timeout
        async with self._clamd.conversation() as sock:
            await self._send(loop, sock, BEGIN, timeout_s)
            sent = 0
            async for piece in self._pieces():
                sent += len(piece)
                if sent > self._clamd.settings.max_bytes:
                    raise ClamdError("larger than scan.clamd.max_bytes", away=False)
                await self._send(loop, sock, chunk(piece), timeout_s)
            self._refuse_early_answer(sock)
            await self._send(loop, sock, END, timeout_s)
            async with asyncio.timeout(timeout_s):
                return read_answer(await _received(sock))

    async def _send(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, data: bytes, timeout_s: float
    ) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await loop.sock_sendall(sock, data)
        except (BrokenPipeError, ConnectionResetError):
            # it has given the reason, if it had the time
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(OSError):
                    answer = await _received(sock)
                    if answer:
                        read_answer(answer)
            raise ClamdError(_CLOSED, away=False) from None

    @staticmethod
    def _refuse_early_answer(sock: socket.socket) -> None:
        """Let nothing count that was answered before the file was whole."""
        try:
            answer = sock.recv(MOST_ANSWER_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except ConnectionResetError:  # it closed with bytes unread
            answer = b""
        if answer:
            read_answer(answer)
            raise ClamdError("it answered before it had the whole file")
        raise ClamdError(_CLOSED, away=False)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Yield what came in pieces that may be sent, until all is there."""
        while True:
            while self._waiting:
                data = self._waiting.popleft()
                self._waiting_bytes -= len(data)
                if self._waiting_bytes <= BACKLOG_BYTES // 2:
                    self._room.set()
                for at in range(0, len(data), MOST_CHUNK_BYTES):
                    yield data[at : at + MOST_CHUNK_BYTES]
            if self._over:
                return
            self._more.clear()
            await self._more.wait()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno is not None else str(error)


async def _received(sock: socket.socket) -> bytes:
    """Receive an answer: up to its zero byte, or as far as it goes."""
    loop = asyncio.get_running_loop()
    answer = b""
    while not answer.endswith(b"\0") and len(answer) <= MOST_ANSWER_BYTES:
        piece = await loop.sock_recv(sock, MOST_ANSWER_BYTES)
        if not piece:
            break
        answer += piece
    return answer
