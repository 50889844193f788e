"""Who may ask by ICAP, how many at a time, and how it ends."""

import asyncio

import pytest

from icapkit.stand import Stand, reqmod
from icapkit.wire import message
from proxykit.gatekeeper import FakeGatekeeper


@pytest.fixture
def stand(tmp_path):
    found = Stand(tmp_path, FakeGatekeeper(), max_connections=2, clients=("192.0.2.0/24", "2001:db8::1"))
    yield found
    found.close()


def test_only_named_networks_and_this_machine_may_ask(stand):
    assert [
        stand.listener._allows(peer) for peer in ("127.0.0.1", "::1", "192.0.2.9", "::ffff:192.0.2.9")
    ] == [True] * 4
    assert [stand.listener._allows(peer) for peer in ("192.0.3.9", "2001:db8::2", "fe80::1%eth0")] == [
        False
    ] * 3
    assert stand.listener._allows("2001:db8::1")


def test_a_stranger_is_told_so(stand, monkeypatch):
    monkeypatch.setattr(stand.listener, "_allows", lambda _: False)
    reply = stand.run(stand.ask(message("OPTIONS", "reqmod")))
    assert (reply.status, reply.fields["connection"]) == (403, "close")
    assert "127.0.0.1" in stand.complaints[0]


def test_one_connection_too_many_is_told_so_and_room_is_made_by_leaving(stand):
    async def story():
        first, second = await stand.connect(), await stand.connect()
        for gateway in (first, second):
            await gateway.send(reqmod())
            assert (await gateway.reply()).status == 204
        third = await stand.connect()
        await third.send(reqmod())
        assert (await third.reply()).status == 503
        assert await third.gone()
        first.close()
        await first.writer.wait_closed()
        while (await stand.ask(reqmod())).status != 204:
            pass

    stand.run(story())


def test_what_is_under_way_is_answered_before_the_end(stand):
    stand.gatekeeper.slow.add("slow.test/")

    async def story():
        checking = asyncio.Event()
        idle, busy = await stand.connect(), await stand.connect()
        await idle.send(reqmod())
        await idle.reply()
        stand.gatekeeper.on_check = lambda _: checking.set()
        await busy.send(reqmod("http://slow.test/"))
        await checking.wait()
        await stand.listener.drain(10.0)
        reply = await busy.reply()
        assert (reply.status, reply.fields["connection"]) == (204, "close")
        assert await idle.gone()
        assert await busy.gone()
        with pytest.raises(OSError):
            await stand.connect()

    stand.run(story())


def test_many_requests_at_once_are_answered_in_order(stand):
    stand.gatekeeper.slow.add("slow.test/")
    stand.gatekeeper.bad.add("bad.test/")

    async def story():
        gateway = await stand.connect()
        await gateway.send(reqmod("http://slow.test/") + reqmod("http://bad.test/") + reqmod() * 50)
        return [(await gateway.reply()).status for _ in range(52)]

    assert stand.run(story()) == [204, 200] + [204] * 50
