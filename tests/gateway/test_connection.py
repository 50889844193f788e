"""One connection of a gateway: what it is told when things go wrong, and how it is slowed down."""

import asyncio

import pytest

from icapkit.stand import Stand, reqmod, respmod
from icapkit.wire import chunked
from proxykit.gatekeeper import FakeGatekeeper
from proxykit.samples import program
from secondlook.gateway.icap import connection as module

KIND = "application/x-msdownload"


@pytest.fixture
def stand(tmp_path):
    found = Stand(tmp_path, FakeGatekeeper())
    yield found
    found.close()


def test_a_head_that_never_ends_is_not_waited_for(stand, monkeypatch):
    monkeypatch.setattr(module, "HEAD_TIME_S", 0.05)

    async def story():
        gateway = await stand.connect()
        await gateway.send(reqmod())
        assert (await gateway.reply()).status == 204  # between requests nobody is hurried
        await gateway.send(reqmod()[:-20])
        assert await gateway.gone()

    stand.run(story())


def test_a_body_may_take_its_time(stand):
    async def story():
        gateway = await stand.connect()
        await gateway.send(reqmod()[:-20])
        while not stand.listener._connections:
            await asyncio.sleep(0.01)
        [connection] = stand.listener._connections
        while connection._timer is None:
            await asyncio.sleep(0.01)
        await gateway.send(reqmod()[-20:] + respmod(length=5) + b"5\r\nhe")
        assert (await gateway.reply()).status == 204
        while connection._exchange is None:
            await asyncio.sleep(0.01)
        assert connection._timer is None
        await gateway.send(b"llo\r\n0; ieof\r\n\r\n")
        assert (await gateway.reply()).status == 204

    stand.run(story())


def test_an_answer_that_breaks_is_never_taken_for_whole(stand, monkeypatch):
    async def broken(*_):
        raise RuntimeError("injected")

    monkeypatch.setattr(stand.listener, "answer", broken)

    async def story():
        gateway = await stand.connect()
        await gateway.send(reqmod())
        assert await gateway.gone()

    stand.run(story())


def test_what_is_no_icap_in_the_middle_of_a_body_ends_it(stand):
    async def story():
        gateway = await stand.connect()
        await gateway.send(respmod("/a.exe", kind=KIND, length=50_000) + chunked(b"MZ") + b"nonsense\r\n")
        reply = await gateway.reply()
        assert (reply.status, reply.fields["connection"]) == (400, "close")
        assert await gateway.gone()

    stand.run(story())
    assert len(stand.complaints) == 1


def test_a_gateway_that_does_not_read_is_not_read_either(stand):
    file = program(40 << 20)

    async def story():
        gateway = await stand.connect()
        head = respmod("/a.exe", kind=KIND, length=len(file))
        await gateway.send(head + chunked(file[:1024]) + b"0\r\n\r\n")
        await gateway.head()
        [connection] = stand.listener._connections
        connection.pause_writing()  # as the transport says when its buffer is full
        sending = asyncio.ensure_future(gateway.send(chunked(file[1024:], 65536) + b"0\r\n\r\n"))
        while not connection._paused:
            await asyncio.sleep(0.01)
        assert connection.machine.waiting_bytes < 2 << 20
        assert not sending.done()
        connection.resume_writing()
        reply = await gateway.head()
        await gateway.body(reply)
        await sending
        return reply

    reply = stand.run(story())
    assert (reply.whole, reply.body == file) == (True, True)


def test_a_client_that_leaves_while_it_is_judged_ends_nothing_else(stand):
    stand.gatekeeper.slow.add("slow.test/")

    async def story():
        gateway = await stand.connect()
        await gateway.send(reqmod("http://slow.test/"))
        gateway.writer.transport.abort()
        assert (await stand.ask(reqmod())).status == 204
        while stand.listener._connections:
            await asyncio.sleep(0.01)

    stand.run(story())
