"""Events out to real sockets: syslog by UDP and by a local socket, a webhook that fails at first."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress

import pytest

from ledgerkit.made import make_ledger
from secondlook.config.record import LogSettings
from secondlook.core.event import Event, EventKind
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.run.assembly.background.outlets import Outlets, make_outlets

DEADLINE_S = 60


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.open(make_ledger(tmp_path / "ledger.sqlite3"), LedgerOptions(background=False, privacy=1))
    yield ledger
    ledger.close()


def tell(ledger, number):
    url = f"http://bad.example/{number}?secret=1"
    ledger.recorder.record(
        Event(
            id=make_id(),
            kind=EventKind.BLOCKED,
            time=1.0,
            decision="block",
            url=url,
            host="bad.example",
            detail="<\x1b[31m",
        )
    )


@asynccontextmanager
async def delivering(ledger, state, **settings):
    task = asyncio.create_task(make_outlets(LogSettings(**settings), None, ledger.events, state).run())
    async with asyncio.timeout(
        DEADLINE_S
    ):  # the first look at the end of the log: what came before is not told
        while not (state / "outlets.json").exists():
            await asyncio.sleep(0.02)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def parse(message):
    return json.loads(message.rstrip(b"\0").decode().partition("secondlook: ")[2])


async def receive(sock):
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65536), DEADLINE_S)


@pytest.mark.parametrize("kind", ["udp", "local"])
def test_syslog(ledger, tmp_path, kind):
    async def story():
        if kind == "udp":
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{sock.getsockname()[1]}"
        else:
            address = str(tmp_path / "log.sock")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sock.bind(address)
        sock.setblocking(False)
        async with delivering(ledger, tmp_path, syslog={"address": address, "facility": "local3"}):
            tell(ledger, 1)
            message = await receive(sock)
        sock.close()
        return message

    message = asyncio.run(story())
    assert message.startswith(b"<158>")  # local3, informational
    assert parse(message)["url"] == "http://bad.example/1"  # privacy level 1 keeps no query
    assert b"\x1b" not in message


def test_a_webhook_gets_everything_once_it_answers_also_after_a_restart(ledger, tmp_path):
    async def story():
        received, refused = [], []

        async def serve(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            body = await reader.readexactly(length)
            ok = len(refused) >= 2
            (received if ok else refused).append((head, body))
            writer.write(
                b"HTTP/1.1 204 No Content\r\n\r\n" if ok else b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"
            )
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        hook = {"url": f"http://127.0.0.1:{port}/events", "headers": {"authorization": "Bearer x"}}

        def numbers():
            return [json.loads(line)["url"][-1] for _, body in received for line in body.splitlines()]

        async def until(expected):
            async with asyncio.timeout(DEADLINE_S):
                while numbers() != expected:
                    await asyncio.sleep(0.02)

        async with delivering(ledger, tmp_path, webhook=hook):
            tell(ledger, 1)
            tell(ledger, 2)
            await until(["1", "2"])
            end = ledger.events.tail(after=ledger.events.end())[1]
            async with asyncio.timeout(DEADLINE_S):
                while json.loads((tmp_path / "outlets.json").read_text())["webhook"] != end:
                    await asyncio.sleep(0.02)
        tell(ledger, 3)
        async with delivering(ledger, tmp_path, webhook=hook):
            await until(["1", "2", "3"])
        server.close()
        return received, refused

    received, refused = asyncio.run(story())
    assert len(refused) == 2
    assert b"authorization: bearer x" in received[0][0].lower()


@pytest.mark.parametrize("kept", ["[]", '{"syslog": 7}', '{"syslog": null}', "{"])
def test_positions_that_are_none_begin_at_the_end_of_the_log(ledger, tmp_path, kept):
    async def story():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            (tmp_path / "outlets.json").write_text(kept)
            outlets = {"syslog": {"address": f"127.0.0.1:{sock.getsockname()[1]}"}}
            async with delivering(ledger, tmp_path, **outlets):
                async with asyncio.timeout(DEADLINE_S):
                    while "s0" not in (tmp_path / "outlets.json").read_text():
                        await asyncio.sleep(0.02)
                tell(ledger, 1)
                return await receive(sock)

    assert parse(asyncio.run(story()))["url"] == "http://bad.example/1"


def test_a_fault_inside_ends_no_outlet(ledger, tmp_path, caplog):
    class Faulty:
        name, tries = "faulty", 0

        async def deliver(self, events):
            self.tries += 1
            if self.tries == 1:
                raise RuntimeError("a bug")
            done.set_result([event.url for event in events])

        async def aclose(self):
            pass

    async def story():
        nonlocal done
        done = asyncio.get_running_loop().create_future()
        (tmp_path / "outlets.json").write_text('{"faulty": "s0"}')
        tell(ledger, 1)
        running = asyncio.create_task(Outlets([Faulty()], ledger.events, tmp_path).run())
        assert await asyncio.wait_for(done, DEADLINE_S) == ["http://bad.example/1"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    done = None
    asyncio.run(story())
    assert "RuntimeError: a bug" in caplog.text


def test_no_outlet_no_task(ledger, tmp_path):
    assert make_outlets(LogSettings(), None, ledger.events, tmp_path) is None
