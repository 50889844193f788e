"""One client connection: mitmproxy's handler with cheaper hooks and honest back-pressure.

Theory. Events of a connection are handled one after the other; handling one may make further ones
(a hook that needed no waiting completes at once). mitmproxy makes a task for every hook and serializes
them with a lock; here completions of synchronous hooks join a queue that the running loop empties, which
gives the same order without a task. Two rules:

1. Nothing between the first and the last event of a round awaits.
2. An event that arrives during a round (from a task that started eagerly) waits in the queue.

Streams run the hooks of each request themselves (`_begin`, `stream.py`); what arrives on a TCP socket comes
here straight from the transport (`transport_reader.py`).

What a round sends is written at its end, before anything is closed.
"""

import asyncio
import collections
import contextlib
import logging
import socket
import struct
from collections.abc import Coroutine
from functools import partial
from typing import Any, cast

from mitmproxy.connection import Connection as Peer
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import Layer, NextLayer
from mitmproxy.proxy.layers.http import HttpLayer, HttpStream
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import ConnectionIO

from secondlook.proxy.mitm.hook_table import HookTable
from secondlook.proxy.mitm.http.http1_origin import BROKEN
from secondlook.proxy.mitm.teardown import dissolve
from secondlook.proxy.mitm.transport.transport_reader import Inlet

EARLY_MAX_BYTES = 1 << 20  # that a client may send while what it sends waits for a hook, or for its origin


class Pressure:
    """Which connections must not be read now, and because of which streams; 0 is the connection itself."""

    def __init__(self) -> None:
        self._pressed: dict[Peer, set[int]] = {}
        self._changed = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._pressed)

    def press(self, origin: Peer, stream_id: int) -> None:
        """Pause an origin for a stream."""
        self._pressed.setdefault(origin, set()).add(stream_id)

    def ease(self, origin: Peer, stream_id: int) -> None:
        """Let an origin go on as far as this stream is concerned."""
        streams = self._pressed.get(origin)
        if streams is None:
            return
        streams.discard(stream_id)
        if not streams:
            del self._pressed[origin]
            self._changed.set()

    async def room(self, origin: Peer) -> None:
        """Wait until no stream of an origin is pressed."""
        while origin in self._pressed:
            self._changed.clear()
            await self._changed.wait()


class Connection(ProxyConnectionHandler):
    """A client connection and the origin connections made for it."""

    def __init__(self, master: Any, reader: Any, writer: Any, options: Any, mode: Any) -> None:
        super().__init__(master, reader, writer, options, mode)
        assert isinstance(master.addons, HookTable)
        self._hooks: HookTable = master.addons
        self._waiting: collections.deque[events.Event] = collections.deque()
        self._outgoing: dict[Peer, list[bytes]] = {}
        self._busy = False
        self._over = False  # both sides are closed
        self._behind: set[Inlet] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.pressure = Pressure()
        self._unanswered: set[commands.Command] = set()  # what must be over before more can be taken
        self._answered = asyncio.Event()
        self._early = 0
        self._begun: dict[commands.StartHook, Coroutine[Any, Any, None]] = {}
        self.client.pressure = self.pressure  # type: ignore[attr-defined]  # the layers know only the client
        self.client.begin = self._begin  # type: ignore[attr-defined]
        self.client.reset = self._reset  # type: ignore[attr-defined]

    def is_idle(self) -> bool:
        """Return whether nobody waits for anything here: no request in progress, no tunnel, no message."""
        return not self._unanswered and not _is_busy(self.layer)

    def end(self) -> None:
        """Close it now, as mitmproxy does after a long silence."""
        io = self.transports.get(self.client)
        if io is not None and io.handler is not None:
            io.handler.cancel("it gives way to another")

    async def handle_client(self) -> None:
        """Serve the client until it has gone, and leave nothing for the search for garbage."""
        await super().handle_client()
        self._over = True
        self._part()

    def _part(self) -> None:
        """Take everything apart once nothing goes on that was begun here."""
        if self._tasks or self.layer is None:
            return
        while self.wakeup_timer:
            self.wakeup_timer.pop().cancel()
        del self.client.begin, self.client.reset, self.timeout_watchdog.callback  # type: ignore[attr-defined]
        vars(self).pop("open_connection", None)  # `connections.py` has put its own there
        top, self.layer = self.layer, None  # type: ignore[assignment]
        dissolve(top)

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run a hook that was not started by a layer (connect, disconnect)."""
        rest = self._hooks.start(hook)
        if rest is not None:
            with self.timeout_watchdog.disarm():
                await rest

    async def handle_connection(self, connection: Peer) -> None:
        """Read a connection to its end; what arrives on a TCP socket does not pass through the task."""
        io = self.transports[connection]
        if not (isinstance(io.reader, asyncio.StreamReader) and isinstance(io.writer, asyncio.StreamWriter)):
            await super().handle_connection(connection)
            return
        transport = cast("asyncio.Transport", io.writer.transport)
        inlet = Inlet(
            io.reader,
            transport,
            partial(self._arrived, connection),
            self._behind,
            partial(setattr, connection, BROKEN, True),
        )
        io.reader = inlet  # type: ignore[assignment]
        try:
            await super().handle_connection(connection)
        except asyncio.CancelledError as ended:
            ended.__traceback__ = None  # its frames hold it, and it them
            raise
        finally:
            inlet.close()

    async def _serve_origin(self, command: commands.OpenConnection) -> None:
        """Connect to an origin and serve it to its end; being cancelled is one, and no error of its task."""
        with contextlib.suppress(asyncio.CancelledError):
            await self.open_connection(command)

    def _arrived(self, peer: Peer, inlet: Inlet, data: bytes) -> None:
        self._take(events.DataReceived(peer, data))
        if peer is self.client and self._unanswered:
            self._early += len(data)
        if self._behind or self.pressure or self._early > EARLY_MAX_BYTES:
            inlet.hold(self._spawn(self._catch_up(peer), "catching up"))

    async def _catch_up(self, peer: Peer) -> None:
        if peer is self.client:
            while self._early > EARLY_MAX_BYTES and self._unanswered:
                self._answered.clear()
                await self._answered.wait()
            self._early = 0
        await super().drain_writers()
        await self.pressure.room(peer)

    async def server_event(self, event: events.Event) -> None:
        """Handle one event and all that follow from it at once."""
        self._take(event)
        if isinstance(event, events.CommandCompleted):
            self._unanswered.discard(event.command)
            if not self._unanswered:
                self._answered.set()

    def _take(self, event: events.Event) -> None:
        self._waiting.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._handle(self._waiting.popleft())
            self._flush()
        finally:
            self._busy = False

    def _handle(self, event: events.Event) -> None:
        self.timeout_watchdog.register_activity()
        try:
            for command in self.layer.handle_event(event):
                self._obey(command)
        except Exception as error:  # noqa: BLE001 - a layer broke: nothing more may pass
            self.log(
                f"a protocol layer failed, closing the connection: {error!r}", logging.ERROR, exc_info=True
            )
            self._close_all()

    def _reset(self) -> None:
        """Let the client see that its connection, when it is closed next, was broken off."""
        io = self.transports.get(self.client)
        if io is not None and isinstance(io.writer, asyncio.StreamWriter):
            sock = io.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _begin(self, hook: commands.StartHook) -> bool:
        """Run a hook where a layer has it in hand; False where it must be yielded and waited for."""
        rest = self._hooks.start(hook)
        if rest is None:
            return True
        self._begun[hook] = rest
        return False

    def _obey(self, command: commands.Command) -> None:  # noqa: C901, PLR0912 - one branch a command
        if isinstance(command, commands.SendData):
            pieces = self._outgoing.get(command.connection)
            if pieces is None:
                self._outgoing[command.connection] = [command.data]
            else:
                pieces.append(command.data)
        elif isinstance(command, commands.StartHook):
            rest = self._begun.pop(command, None) or self._hooks.start(command)
            if rest is not None:
                self._note_waiting(command)
                _ = self._spawn(self._finish_hook(command, rest), f"hook {command.name}")
            elif command.blocking:
                self._waiting.append(events.HookCompleted(command))
        elif isinstance(command, commands.Log):
            self.log(command.message, command.level)
        elif isinstance(command, commands.OpenConnection):
            assert command.connection not in self.transports
            self._note_waiting(command)
            task = self._spawn(self._serve_origin(command), f"origin {command.connection.address}")
            self.transports[command.connection] = ConnectionIO(handler=task)
        elif isinstance(command, commands.RequestWakeup):
            self._set_timer(command)
        elif isinstance(command, commands.ConnectionCommand):
            if command.connection not in self.transports:
                return  # already closed
            self._flush()
            if isinstance(command, commands.CloseTcpConnection):
                self.close_connection(command.connection, command.half_close)
            elif isinstance(command, commands.CloseConnection):
                self.close_connection(command.connection)
            else:
                raise TypeError(f"unexpected command: {command!r}")
        else:
            raise TypeError(f"unexpected command: {command!r}")

    def _note_waiting(self, command: commands.Command) -> None:
        """Note that nothing more is taken before this is over; of HTTP/2 one stream waits (`layers.py`)."""
        if command.blocking and self.client.alpn != b"h2":
            self._unanswered.add(command)

    def _set_timer(self, command: commands.RequestWakeup) -> None:
        """Wake a layer later; no task, as nearly every tunnel has a timer or two."""

        def wake() -> None:
            self.wakeup_timer.discard(timers.pop())
            self._take(events.Wakeup(command))

        # a list, emptied when it is over: the timer holds the function, which has to know it
        timers = [asyncio.get_running_loop().call_later(command.delay, wake)]
        self.wakeup_timer.update(timers)  # type: ignore[arg-type]  # to be cancelled when the client goes

    async def drain_writers(self) -> None:
        """Wait until both sides keep up: before an origin is read again, its streams must have room."""
        await super().drain_writers()
        if self.pressure:
            task = asyncio.current_task()
            for peer, io in list(self.transports.items()):
                if io.handler is task and peer is not self.client:
                    await self.pressure.room(peer)

    def _flush(self) -> None:
        """Write what a round has to send, each connection in one go: a head and its body share a packet."""
        if not self._outgoing:
            return
        outgoing, self._outgoing = self._outgoing, {}
        for peer, pieces in outgoing.items():
            io = self.transports.get(peer)
            if io is not None and io.writer is not None and not io.writer.is_closing():
                try:
                    io.writer.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                except RuntimeError:  # its side has ended, of which TLS, that sends an alert, knows nothing
                    self.log(f"nothing more can be sent to {peer}", logging.DEBUG)

    async def _finish_hook(self, hook: commands.StartHook, rest: Coroutine[Any, Any, None]) -> None:
        with self.timeout_watchdog.disarm():
            await rest
        if hook.blocking:
            await self.server_event(events.HookCompleted(hook))

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._end_task)
        return task

    def _end_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._over:
            self._part()

    def _close_all(self) -> None:
        for peer, io in list(self.transports.items()):
            if io.handler is not None:
                io.handler.cancel("a protocol layer failed")
            elif io.writer is not None:
                io.writer.close()
            peer.error = peer.error or "a protocol layer failed"


def _is_busy(layer: Layer | None) -> bool:
    """Return whether something is going on in a stack of layers, as far as HTTP shows it; else it may be."""
    while layer is not None:
        if isinstance(layer, HttpLayer):
            return any(
                stream.child_layer is None or _is_busy(stream.child_layer) for stream in _streams(layer)
            )
        if isinstance(layer, NextLayer):
            layer = layer.layer
        else:
            # a layer of mitmproxy's that has done its part puts another's handler in the place of its own
            below = getattr(layer, "child_layer", None) or getattr(layer._handle_event, "__self__", layer)  # noqa: SLF001
            if below is layer:
                return True  # a tunnel, a WebSocket
            layer = below
    return False  # nothing has come yet


def _streams(layer: HttpLayer) -> list[HttpStream]:
    return list(layer.streams.values())
