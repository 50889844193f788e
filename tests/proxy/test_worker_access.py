"""Closed doors: who may use the proxy, and what nobody reaches through it."""

import asyncio

import pytest

from proxykit.origin import Asked, send
from secondlook.proxy.access import CLOSED, OWN, Access


async def hello(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"hello")


FORMS_OF_LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "0.0.0.0",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "64:ff9b::7f00:1",
]


@pytest.mark.parametrize(
    "host", [*FORMS_OF_LOOPBACK, "169.254.169.254", "fe80::1", "[fd00:ec2::254]", "2852039166"]
)
def test_another_machine_reaches_nothing_inside(host):
    access = Access(["192.0.2.0/24"], lambda: ())
    assert access.closed("192.0.2.7", host, 80) == CLOSED


@pytest.mark.parametrize("host", ["example.org", "93.184.216.34", "10.1.2.3", "2606:4700::1111"])
def test_another_machine_reaches_the_rest(host):
    assert Access(["192.0.2.0/24"], lambda: ()).closed("192.0.2.7", host, 80) is None


@pytest.mark.parametrize("host", FORMS_OF_LOOPBACK)
def test_nobody_reaches_our_own_pages(host):
    access = Access([], lambda: {8081})
    assert access.closed("127.0.0.1", host, 8081) == OWN
    assert access.closed("127.0.0.1", host, 8082) is None


def test_a_name_is_judged_by_what_it_resolves_to():
    access = Access(["192.0.2.0/24"], lambda: {8081})
    assert access.must_resolve("192.0.2.7", "rebind.test", 80)
    assert not access.must_resolve("127.0.0.1", "rebind.test", 80)
    assert asyncio.run(access.closed_by_name("192.0.2.7", "localhost", 80)) == CLOSED
    assert asyncio.run(access.closed_by_name("127.0.0.1", "localhost", 8081)) == OWN


def test_only_this_machine_and_the_named_networks_are_admitted():
    access = Access(["192.0.2.0/24", "2001:db8::/32"], lambda: ())
    assert access.admits("127.0.0.1")
    assert access.admits("::1")
    assert access.admits("::ffff:192.0.2.9")
    assert access.admits("2001:db8::1")
    assert not access.admits("198.51.100.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost", "0x7f.1"])
def test_our_own_pages_through_the_proxy(proxy, make_origin, curl, host):
    review = make_origin(hello)
    proxy.own_ports.add(review.port)
    done = curl(
        proxy, "-i", "--request-target", f"http://{host}:{review.port}/", f"http://127.0.0.1:{review.port}/"
    )
    assert done.stdout.startswith(b"HTTP/1.1 403"), done.stdout
    assert b"stage=access" in done.stdout
    assert review.connections == 0


def test_our_own_pages_through_a_tunnel(proxy, make_origin, curl):
    review = make_origin(hello)
    proxy.own_ports.add(review.port)
    done = curl(proxy, "-p", f"http://127.0.0.1:{review.port}/")
    assert done.returncode == 56
    assert review.connections == 0
