"""An inlet over a real socket: nothing that arrives is lost, doubled or out of order. Under a second."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from secondlook.proxy.mitm.transport.transport_reader import Inlet

LARGE = 8 << 20  # more than a socket's buffers take


@dataclass
class Ends:
    """Our end as the proxy has it, and the peer's end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: socket.socket
    behind: set[Inlet] = field(default_factory=set)
    got: list[bytes] = field(default_factory=list)
    breaks: list[bool] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def inlet(self, arrived: Callable[[Inlet, bytes], None] | None = None) -> Inlet:
        return Inlet(
            self.reader,
            self.writer.transport,
            arrived or self.take,
            self.behind,
            lambda: self.breaks.append(True),
        )

    def take(self, _inlet: Inlet, data: bytes) -> None:
        self.got.append(data)
        self.came.set()

    async def until(self, data: bytes) -> None:
        while b"".join(self.got) != data:
            await self.came.wait()
            self.came.clear()


def run(test: Callable[[Ends], Awaitable[None]]) -> None:
    async def connected() -> None:
        ours, peer = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            async with asyncio.timeout(60):
                await test(Ends(reader, writer, peer))
        finally:
            peer.close()
            writer.transport.abort()

    asyncio.run(connected())


def test_early_bytes_come_first_then_pieces_then_the_end() -> None:
    async def test(ends: Ends) -> None:
        ends.peer.sendall(b"early")
        assert await ends.reader.readexactly(1) == b"e"  # the rest has arrived, too
        inlet = ends.inlet()
        assert await inlet.read(10) == b"arly"
        end = asyncio.ensure_future(inlet.read(10))
        ends.peer.sendall(b"later")
        await ends.until(b"later")
        ends.peer.shutdown(socket.SHUT_WR)
        assert await end == b""
        ends.writer.write(b"still heard")  # half of the connection is open
        assert await asyncio.to_thread(ends.peer.recv, 100) == b"still heard"

    run(test)


def test_an_end_that_came_before_is_not_missed() -> None:
    async def test(ends: Ends) -> None:
        ends.peer.sendall(b"all")
        ends.peer.shutdown(socket.SHUT_WR)
        assert await ends.reader.readexactly(1) == b"a"
        await asyncio.sleep(0)
        inlet = ends.inlet()
        assert await inlet.read(10) == b"ll"
        assert await inlet.read(10) == b""
        assert ends.got == []

    run(test)


def test_nothing_is_read_until_all_have_caught_up() -> None:
    async def test(ends: Ends) -> None:
        inlet = ends.inlet()
        end = asyncio.ensure_future(inlet.read(10))
        await asyncio.sleep(0)
        caught_up = asyncio.Event()
        inlet.hold(asyncio.ensure_future(caught_up.wait()))
        assert not ends.writer.transport.is_reading()
        ends.peer.sendall(b"held")
        caught_up.set()
        await ends.until(b"held")
        ends.peer.close()
        assert await end == b""

    run(test)


@pytest.mark.parametrize("fell_behind", ["before", "since"])
def test_a_peer_that_does_not_read_is_behind_until_it_does(fell_behind: str) -> None:
    async def test(ends: Ends) -> None:
        if fell_behind == "before":
            ends.writer.write(bytes(LARGE))
        inlet = ends.inlet()
        end = asyncio.ensure_future(inlet.read(10))
        await asyncio.sleep(0)
        if fell_behind == "since":
            ends.writer.write(bytes(LARGE))
        assert ends.behind == {inlet}
        drained = asyncio.ensure_future(ends.writer.drain())

        def read_all() -> int:
            left = LARGE
            while left:
                left -= len(ends.peer.recv(1 << 20))
            return left

        assert await asyncio.to_thread(read_all) == 0
        await drained
        assert ends.behind == set()
        end.cancel()

    run(test)


def test_a_lost_peer_stays_behind_until_the_connection_ends() -> None:
    async def test(ends: Ends) -> None:
        inlet = ends.inlet()
        end = asyncio.ensure_future(inlet.read(10))
        await asyncio.sleep(0)
        ends.writer.write(bytes(LARGE))
        ends.peer.close()
        assert await end == b""
        with pytest.raises(ConnectionError):
            await ends.writer.drain()
        assert ends.behind == {inlet}  # so that the next to read drains, and notices
        inlet.close()
        assert ends.behind == set()

    run(test)


def test_an_error_of_the_handler_ends_the_reading_task() -> None:
    async def test(ends: Ends) -> None:
        def broken(_inlet: Inlet, _data: bytes) -> None:
            raise KeyError("broken")

        inlet = ends.inlet(broken)
        end = asyncio.ensure_future(inlet.read(10))
        ends.peer.sendall(b"anything")
        with pytest.raises(KeyError, match="broken"):
            await end

    run(test)


def test_what_arrives_after_the_task_was_cancelled_is_dropped() -> None:
    async def test(ends: Ends) -> None:
        inlet = ends.inlet()
        end = asyncio.ensure_future(inlet.read(10))
        await asyncio.sleep(0)
        end.cancel("closed by command")
        inlet.data_received(b"too late")
        with pytest.raises(asyncio.CancelledError):
            await end
        assert ends.got == []

    run(test)
