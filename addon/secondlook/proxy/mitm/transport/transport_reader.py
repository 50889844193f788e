"""Reading a connection without a task: what arrives is handled where it arrives.

mitmproxy reads each connection in a task: read, handle, wait until everybody keeps up, again. The stream
reader between copies twice and wakes the task in a further turn of the loop. An inlet stands in the reader's
place: its `read` ends only with the connection, and meanwhile the transport hands every piece straight on.

```
transport ─ data_received ─► arrived(inlet, data) ─► layers …   no task, no turn of the loop
          ─ end, loss ─────► read() gives b"" ─► mitmproxy's task closes the connection, as ever
          ─ pause_writing ─► behind ─► the next reader pauses until the writers are drained
```

What arrived before the inlet took over is given by the first `read`.
"""

import asyncio
from collections.abc import Callable


class Inlet(asyncio.Protocol):
    """The reading half of one transport, in the place of a stream reader and in front of its protocol.

    `arrived` gets each piece; `behind` is the set of a connection's inlets whose peers do not take what is
    written to them, or have gone. `broken` is called before the end where a connection was lost, not ended.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        transport: asyncio.Transport,
        arrived: "Callable[[Inlet, bytes], None]",
        behind: "set[Inlet]",
        broken: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._streams = transport.get_protocol()  # drains the writer
        self._arrived = arrived
        self._behind = behind
        self._broken = broken
        self._ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open = False
        self._closed = False
        self._catching_up: asyncio.Task[None] | None = None

    async def read(self, _most: int) -> bytes:
        """Return what had arrived before, then wait for the end: b"", or the error of a handler."""
        if not self._open:
            self._open = True
            self._transport.pause_reading()
            self._transport.set_protocol(self)
            if self._transport.get_write_buffer_size() > self._transport.get_write_buffer_limits()[1]:
                self._behind.add(self)  # the protocol knew before
            self._reader.feed_eof()  # so that it gives all that it holds
            try:
                early = await self._reader.read()
            except OSError:
                self._broken()
                raise
            self._transport.resume_reading()  # an end that the reader has met is met again
            if early:
                return early
        return await self._ended

    def hold(self, caught_up: asyncio.Task[None]) -> None:
        """Read no more until a task has ended."""
        if caught_up.done():
            return
        self._transport.pause_reading()
        self._catching_up = caught_up
        caught_up.add_done_callback(self._go_on)

    def close(self) -> None:
        """Forget what is waited for."""
        self._closed = True
        self._behind.discard(self)
        if self._catching_up is not None:
            self._catching_up.cancel()

    def _go_on(self, _caught_up: asyncio.Task[None]) -> None:
        self._catching_up = None
        self._transport.resume_reading()

    # ---- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Hand a piece on, unless nobody reads any more."""
        if self._ended.done():
            return
        try:
            self._arrived(self, data)
        except Exception as error:  # noqa: BLE001 - raised again in the reading task, which logs and ends
            if not self._ended.done():
                self._ended.set_exception(error)

    def eof_received(self) -> bool:
        """End the reading; what is still to be written may be."""
        if not self._ended.done():
            self._ended.set_result(b"")
        return True

    def pause_writing(self) -> None:
        """Note that the peer does not keep up."""
        self._behind.add(self)
        self._streams.pause_writing()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._behind.discard(self)
        self._streams.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End both halves; a writer that broke is noticed when the others are drained."""
        if exc is not None and not self._closed:
            self._behind.add(self)
            if not self._ended.done():
                self._broken()
        self._streams.connection_lost(exc)
        self.eof_received()
