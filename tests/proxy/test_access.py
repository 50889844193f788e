"""Closed doors by themselves: whom the proxy serves, and which addresses it leads nobody to."""

import socket

import pytest

from secondlook.proxy.access.access import CLOSED, OWN, Access, closed_reason
from secondlook.resolver import Place

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


def places(*texts):
    return [Place(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in texts]


def judged(client, destination, *texts, listening=None, trusted=()):
    access = Access(["192.0.2.0/24"], lambda: {8081}, trusted)
    left, reason = access.judged(client, destination, places(*texts), listening)
    return [place.text for place in left], reason


OTHER_MACHINE = "192.0.2.7"


@pytest.mark.parametrize(
    "inner",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "100.100.100.200",
        "::1",
        "::",
        "fe80::1",
        "::ffff:127.0.0.1",
        "::ffff:0:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "fd00:ec2::254",
        "2002:7f00:1::",
        "2001:0:7f00:1::80ff:fffe",
    ],
)
def test_a_name_is_judged_by_each_of_its_addresses(inner):
    assert judged(OTHER_MACHINE, ("rebind.test", 80), inner) == ([], CLOSED)
    assert judged(OTHER_MACHINE, ("rebind.test", 80), inner, "93.184.216.34") == (["93.184.216.34"], CLOSED)
    trusted = [("upstream.test", 80)]
    assert judged(OTHER_MACHINE, ("upstream.test", 80), inner, trusted=trusted) == ([inner], "")
    assert judged("127.0.0.1", ("rebind.test", 80), inner) == ([inner], ""), "this machine may"


def test_a_name_that_leads_to_our_services_is_closed_to_everybody():
    assert judged("127.0.0.1", ("localhost", 8081), "::1", "127.0.0.1") == ([], OWN)
    assert judged("127.0.0.1", ("elsewhere.test", 8081), "93.184.216.34") == (["93.184.216.34"], "")


def test_nobody_reaches_the_proxy_through_the_proxy():
    by = ("127.0.0.1", 8080)
    assert judged("127.0.0.1", ("rebind.test", 8080), "127.0.0.1", listening=by) == ([], OWN)
    assert judged("127.0.0.1", ("other.test", 8080), "127.0.0.2", listening=by) == (["127.0.0.2"], "")
    # another machine would pass for this one
    assert judged(OTHER_MACHINE, ("rebind.test", 8080), "127.0.0.2", listening=("192.0.2.1", 8080)) == (
        [],
        OWN,
    )


def test_only_this_machine_and_the_named_networks_are_admitted():
    access = Access(["192.0.2.0/24", "2001:db8::/32"], lambda: ())
    assert access.admits("127.0.0.1")
    assert access.admits("::1")
    assert access.admits("::ffff:192.0.2.9")
    assert access.admits("2001:db8::1")
    assert not access.admits("198.51.100.1")


def test_where_there_are_users_each_may_try_to_log_in():
    access = Access([], lambda: (), users=True)
    assert access.admits("198.51.100.1")
    assert not access.is_open("198.51.100.1")
    assert access.is_open("127.0.0.1")


@pytest.mark.parametrize("client", ["", "nonsense", "127.0.0.1.example"])
def test_who_has_no_address_is_nobody(client):
    access = Access(["0.0.0.0/0", "::/0"], lambda: ())
    assert not access.admits(client)
    assert access.closed(client, "127.0.0.1", 80) == CLOSED


def test_a_balancer_on_this_machine_is_no_client_on_it():
    access = Access([], lambda: (), balancers=["127.0.0.0/8"])
    assert access.is_balancer("127.0.0.1")
    assert access.is_balancer("::ffff:127.0.0.1")
    assert not access.is_balancer("::1")
    assert not access.admits("127.0.0.1")
    assert access.closed("127.0.0.1", "localhost", 80) == CLOSED
    assert access.closed("::1", "localhost", 80) is None


def test_own_ports_are_read_each_time():
    ports: set[int] = set()
    access = Access([], lambda: ports)
    assert access.closed("127.0.0.1", "127.0.0.1", 5274) is None
    ports.add(5274)
    assert access.closed("127.0.0.1", "127.0.0.1", 5274) == OWN


def test_an_address_that_a_socket_can_be_bound_to_is_this_machine():
    """Every address of 127.0.0.0/8 is; one of the documentation's is not."""
    access = Access([], lambda: {8081})
    assert access.closed("127.0.0.1", "127.200.0.9", 8081) == OWN
    assert access.closed("127.0.0.1", "192.0.2.1", 8081) is None


def test_only_the_very_destination_that_the_operator_set_is_trusted():
    access = Access([], lambda: (), [("upstream.test", 3128)])
    assert access.is_trusted("upstream.test", 3128)
    assert not access.is_trusted("upstream.test", 3129)
    assert not access.is_trusted("a.upstream.test", 3128)


@pytest.mark.parametrize("reason", [OWN, CLOSED])
def test_a_closed_door_is_known_by_what_mitmproxy_says_of_it(reason):
    assert closed_reason(f"Error connecting: {reason}") == reason
    assert closed_reason(f"{reason}, or not") is None
