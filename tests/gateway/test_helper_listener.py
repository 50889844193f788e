"""The socket for helper lines, with real connections: many lines under way, faults, draining."""

import asyncio
import socket

import pytest

from gatewaykit.gate import gate_of
from proxykit.gatekeeper import FakeGatekeeper
from secondlook.agent import metrics
from secondlook.core.event import EventKind
from secondlook.gateway.helper_lines import LONGEST_LINE_BYTES
from secondlook.gateway.helper_listener import HelperListener

GET = "{} 192.0.2.7 anna GET http://{}/\n"


class Stand:
    """A listener (or several on one socket), and what was recorded."""

    def __init__(self, folder, keeper, listeners=1):
        self.path = str(folder / "gateway.sock")
        self.keeper, self.events = keeper, []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        gate = gate_of(keeper, folder, self.events.append)
        self.gate = gate
        self.listeners = [HelperListener(gate, self.socket.dup()) for _ in range(listeners)]

    async def __aenter__(self):
        for listener in self.listeners:
            await listener.start()
        return self

    async def __aexit__(self, *_):
        for listener in self.listeners:
            if listener._accepting:
                await listener.drain(5.0)
        self.socket.close()
        await self.gate.bodies.aclose()

    async def connect(self):
        return await asyncio.open_unix_connection(self.path)


async def lines(reader, count):
    return [(await reader.readline()).decode() for _ in range(count)]


def test_lines_are_answered_by_their_numbers_what_waits_last(tmp_path):
    async def main():
        keeper = FakeGatekeeper(bad={"bad.example/"}, slow={"slow.example/"}, flagged={"away.example/"})
        async with Stand(tmp_path, keeper) as stand:
            reader, writer = await stand.connect()
            asked = ["slow.example", "bad.example", "good.example"]
            writer.write("".join(GET.format(n, host) for n, host in enumerate(asked)).encode())
            told = await lines(reader, 3)
            assert told[0].startswith('1 ERR message="')
            assert told[1:] == ["2 OK\n", "0 OK\n"]
            writer.write(GET.format(9, "away.example").encode())
            (flagged,) = await lines(reader, 1)
            assert flagged.startswith("9 OK log=")
            writer.close()
        uses = [context for _, _, context, _ in keeper.seen]
        assert {context.gateway for context in uses} == {"our squid"}
        assert {(context.client, context.user) for context in uses} == {("192.0.2.7", "anna")}

    asyncio.run(main())


def test_lines_are_counted_by_what_they_were_told(tmp_path):
    def counted():
        (family,) = metrics.GATEWAY_LINES.collect()
        return {each.labels["answer"]: each.value for each in family.samples if each.name.endswith("_total")}

    async def main():
        keeper = FakeGatekeeper(bad={"bad.example/"}, flagged={"away.example/"})
        async with Stand(tmp_path, keeper) as stand:
            reader, writer = await stand.connect()
            asked = ["bad.example", "good.example", "good.example", "away.example"]
            writer.write("".join(GET.format(n, host) for n, host in enumerate(asked)).encode() + b"nothing\n")
            await lines(reader, 5)
            writer.close()

    before = counted()
    asyncio.run(main())
    grown = {what: count - before[what] for what, count in counted().items()}
    assert grown == {"block": 1, "allow": 2, "flag": 1, "cannot_tell": 1}


def test_lines_in_pieces_and_thousands_at_once(tmp_path):
    async def main():
        async with Stand(tmp_path, FakeGatekeeper(bad={"bad.example/"})) as stand:
            reader, writer = await stand.connect()
            whole = GET.format(1, "bad.example").encode()
            for at in range(0, len(whole), 7):
                writer.write(whole[at : at + 7])
                await writer.drain()
                await asyncio.sleep(0)
            assert (await lines(reader, 1))[0].startswith("1 ERR")
            writer.write(b"".join(GET.format(n, f"h{n}.example").encode() for n in range(5_000)))
            assert await lines(reader, 5_000) == [f"{n} OK\n" for n in range(5_000)]
            writer.close()

    asyncio.run(main())


def test_lines_that_cannot_be_read_get_bh_and_one_event(tmp_path):
    async def main():
        async with Stand(tmp_path, FakeGatekeeper()) as stand:
            reader, writer = await stand.connect()
            writer.write(
                b"GET http://secret.example/\n \n7 192.0.2.7 -\n" + GET.format(8, "a.example").encode()
            )
            told = await lines(reader, 4)
            assert told[0] == told[1] == 'BH message="expected a number at the beginning of a line"\n'
            assert told[2].startswith('7 BH message="expected 4 to 8 fields')
            assert told[3] == "8 OK\n"
            writer.close()
        (event,) = stand.events
        assert event.kind is EventKind.ERROR
        assert "secret" not in event.detail

    asyncio.run(main())


@pytest.mark.parametrize("over", [0, 1])
def test_a_line_without_an_end_ends_the_connection(tmp_path, over):
    async def main():
        async with Stand(tmp_path, FakeGatekeeper()) as stand:
            reader, writer = await stand.connect()
            writer.write(b"1" * (LONGEST_LINE_BYTES + over))
            if over:
                with pytest.raises(ConnectionResetError):
                    await reader.readline() or raise_reset()
            else:
                writer.write(b"\n")
                assert (await lines(reader, 1))[0].startswith("BH ")
            writer.close()
        assert len(stand.events) == 1

    asyncio.run(main())


def raise_reset():
    raise ConnectionResetError


def test_a_worker_that_ends_answers_what_it_has_begun(tmp_path):
    async def main():
        async with Stand(tmp_path, FakeGatekeeper(slow={"slow.example/"})) as stand:
            reader, writer = await stand.connect()
            writer.write((GET.format(1, "slow.example") + GET.format(2, "a.example")).encode())
            assert await lines(reader, 1) == ["2 OK\n"]
            (listener,) = stand.listeners
            await listener.drain(20.0)
            assert await reader.read() == b"1 OK\n"
            writer.close()

    asyncio.run(main())


def test_an_internal_fault_is_no_open_door(tmp_path):
    async def main():
        keeper = FakeGatekeeper(faults={"now", "check"}, unverifiable_blocks=True)
        async with Stand(tmp_path, keeper) as stand:
            reader, writer = await stand.connect()
            writer.write(GET.format(1, "a.example").encode())
            assert (await lines(reader, 1))[0].startswith("1 ERR ")
            writer.close()

    asyncio.run(main())


def test_helpers_are_shared_out_among_the_workers(tmp_path):
    async def main():
        async with Stand(tmp_path, FakeGatekeeper(), listeners=2) as stand:
            writers = []
            for number in range(2):
                reader, writer = await stand.connect()
                writer.write(GET.format(number, "a.example").encode())
                assert await lines(reader, 1) == [f"{number} OK\n"]
                writers.append(writer)
            assert [len(listener._connections) for listener in stand.listeners] == [1, 1]
            for writer in writers:
                writer.close()

    asyncio.run(main())
