"""The socket for helper lines: each connection is one helper process of a gateway, with many lines under way.

```
helper ══ lines ══► Line reader ─ in memory ──► answered in the same turn
                        └─ must be asked or flagged ─► a task ─► answered when it is settled
```

A worker that has helpers already lets the others take a new one first. One that ends answers what it has
begun and hangs up, and the helper asks the rest of the next.
"""

import asyncio
import logging
import socket
from collections import deque

from secondlook.agent import metrics
from secondlook.core.verdict import Action, Decision
from secondlook.gateway.complaints import Complaints
from secondlook.gateway.helper_lines import (
    LONGEST_LINE_BYTES,
    Question,
    UnreadableLineError,
    answer,
    cannot_tell,
    read_line,
)
from secondlook.gateway.parts import Gate
from secondlook.ground.tcp import BACKLOG

logger = logging.getLogger(__name__)

LINES_AT_A_TIME = 64  # of one helper, before others have their turn
MOST_UNDER_WAY = 10_000  # lines of one helper that wait for a server or for the ledger
MOST_HELPERS = 256
_LATER_S = 0.005  # for each helper that a worker has, before it takes another
_LATEST_S = 0.05
_AGAIN_S = 0.2


_ANSWERED = {action: metrics.GATEWAY_LINES.labels(action.value) for action in Action}  # binding takes longer
_CANNOT_TELL = metrics.GATEWAY_LINES.labels("cannot_tell")


class HelperConnection(asyncio.Protocol):
    """One helper: reads its lines and answers each by its number, in the order in which answers are known."""

    def __init__(self, gate: Gate, complain: Complaints, connections: "set[HelperConnection]") -> None:
        self._gate = gate
        self._complain = complain
        self._connections = connections
        self._begun = b""  # of a line
        self._lines: deque[bytes] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._working = False
        self._full = False
        self._draining = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Give up what nobody waits for any more, but not the decisions: a flag that is written stays."""
        self._connections.discard(self)
        self._lines.clear()

    def pause_writing(self) -> None:
        """Stop reading lines while the helper does not take its answers."""
        self._full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Take in lines."""
        *whole, self._begun = (self._begun + data).split(b"\n")
        if len(self._begun) > LONGEST_LINE_BYTES:
            self._complain(f"expected at most {LONGEST_LINE_BYTES} bytes")
            self._transport.abort()
            return
        self._lines.extend(whole)
        if not self._working:
            self._work()

    def _work(self) -> None:
        """Answer some lines; the rest have their turn after what else the loop has to do."""
        self._working = False
        if self._transport.is_closing():
            return
        answers: list[bytes] = []
        for _ in range(min(LINES_AT_A_TIME, len(self._lines))):
            line = self._lines.popleft()
            if line:
                self._take(line, answers)
        if answers:
            self._transport.write(b"".join(answers))
        if self._lines:
            self._working = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._work)
        else:
            self._go_on()

    def _go_on(self) -> None:
        if not (self._full or self._lines or self._draining or self._transport.is_closing()):
            self._transport.resume_reading()

    def _take(self, line: bytes, answers: list[bytes]) -> None:
        try:
            question = read_line(line, self._gate.name)
        except UnreadableLineError as error:
            self._complain(str(error))
            _CANNOT_TELL.inc()
            answers.append(cannot_tell(error.number, str(error)))
            return
        decision = self._gate.now(question.request)
        if decision is not None:
            answers.append(_answer(question, decision))
        elif len(self._under_way) >= MOST_UNDER_WAY:
            _CANNOT_TELL.inc()
            answers.append(cannot_tell(question.number, "too many questions at once"))
        else:
            task = asyncio.get_running_loop().create_task(self._ask(question), name="helper line")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _ask(self, question: Question) -> None:
        decision = await self._gate.decide(question.request)
        if not self._transport.is_closing():
            self._transport.write(_answer(question, decision))

    async def drain(self, timeout_s: float) -> None:
        """Begin nothing more, answer what is under way, hang up."""
        self._draining = True
        self._transport.pause_reading()
        self._lines.clear()
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=timeout_s)
        self._transport.close()


def _answer(question: Question, decision: Decision) -> bytes:
    _ANSWERED[decision.action].inc()
    return answer(question.number, decision)


class HelperListener:
    """Accepts helpers on an inherited socket that the other gate workers accept on too."""

    def __init__(self, gate: Gate, sock: socket.socket) -> None:
        self._gate = gate
        self._socket = sock
        self._complain = Complaints(gate.record, "a gateway's helper sent a line that cannot be read")
        self._connections: set[HelperConnection] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        self._accepting = False

    async def start(self) -> None:
        """Begin to accept."""
        self._accepting = True
        self._socket.setblocking(False)
        self._socket.listen(BACKLOG)
        self._listen()

    def _listen(self) -> None:
        if self._accepting:
            asyncio.get_running_loop().add_reader(self._socket, self._knocked)

    def _knocked(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._connections:
            self._accept()
            return
        loop.remove_reader(self._socket)
        loop.call_later(min(len(self._connections) * _LATER_S, _LATEST_S), self._accept_then_listen)

    def _accept_then_listen(self) -> None:
        if self._accepting:
            self._accept()
            self._listen()

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        if len(self._connections) >= MOST_HELPERS:
            return
        try:
            helper, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptors or memory: who waits goes on waiting
            logger.warning("cannot take in a helper, trying again in %g s: %s", _AGAIN_S, error)
            loop.remove_reader(self._socket)
            loop.call_later(_AGAIN_S, self._listen)
            return
        helper.setblocking(False)
        connection = HelperConnection(self._gate, self._complain, self._connections)
        task = loop.create_task(self._begin(connection, helper), name="helper")
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: HelperConnection, helper: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, helper)
        metrics.GATEWAY_HELPERS.inc()

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, answer what is under way, hang up."""
        self._accepting = False
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()  # the supervisor has it still
        await asyncio.gather(*(connection.drain(timeout_s) for connection in list(self._connections)))
