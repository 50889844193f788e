"""Who may ask a server, for whom, and how often."""

import pytest

from secondlook.server.http import access
from secondlook.server.http.access import Balancers, Rate, Tokens


@pytest.mark.parametrize(
    ("headers", "keys", "admitted"),
    [
        ([(b"authorization", b"Bearer s3cret")], (), True),
        ([(b"authorization", b"bearer  s3cret ")], (), True),
        ([(b"authorization", b"Basic s3cret")], (), False),
        ([(b"x-authorization", b"Bearer s3cret")], (), False),
        ([], (b"s3cret",), True),
        ([(b"authorization", b"Bearer wrong")], (b"s3cret",), True),
        ([(b"authorization", b"Bearer s3cre")], (b"s3cret ", b""), False),
        ([], (), False),
    ],
)
def test_a_token_is_a_bearers_or_a_key(headers, keys, admitted):
    assert Tokens(["other", "s3cret"]).admits(headers, keys) is admitted
    assert not Tokens([]).admits(headers, keys)


@pytest.mark.parametrize(
    ("peer", "fields", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("203.0.113.9", [b"198.51.100.7"], "203.0.113.9"),  # no balancer: not believed
        ("192.0.2.1", [b"198.51.100.7"], "198.51.100.7"),
        ("192.0.2.1", [b"10.0.0.1, 198.51.100.7, 192.0.2.2"], "198.51.100.7"),  # two balancers in a row
        ("192.0.2.1", [b"10.0.0.1", b"2001:db8::7"], "2001:db8::7"),
        ("192.0.2.1", [b"198.51.100.7, unknown"], "192.0.2.1"),
        ("192.0.2.1", [b"192.0.2.3"], "192.0.2.1"),
    ],
)
def test_a_balancer_says_who_asks(peer, fields, client):
    headers = [(b"x-forwarded-for", value) for value in fields]
    assert Balancers(["192.0.2.0/28"]).client(peer, headers) == client
    assert Balancers([]).client(peer, headers) == peer


def test_each_address_has_its_rate():
    rate = Rate(0.5, 2)
    assert [rate.wait("a", 100.0) for _ in range(3)] == [0, 0, 2]
    assert rate.wait("b", 100.0) == 0
    assert [rate.wait("a", at) for at in (101.0, 102.0, 102.0)] == [1, 0, 2]
    assert [rate.wait("a", 1000.0) for _ in range(3)] == [0, 0, 2]  # no more than a burst is saved up


def test_addresses_of_one_network_of_ipv6_have_one_rate():
    rate = Rate(0.5, 2)
    addresses = [
        "2001:db8::1",
        "2001:db8:0:0:5::2",
        "2001:db8::3",
        "2001:db8:0:1::1",
        "192.0.2.1",
        "192.0.2.2",
    ]
    assert [rate.wait(address, 100.0) for address in addresses] == [0, 0, 2, 0, 0, 0]


def test_of_too_many_addresses_the_one_seen_longest_ago_is_forgotten(monkeypatch):
    monkeypatch.setattr(access, "MAX_ADDRESSES", 2)
    rate = Rate(0.1, 1)
    assert [rate.wait(address, 0.0) for address in ("a", "b", "a", "c")] == [0, 0, 10, 0]
    assert [rate.wait(address, 0.0) for address in ("b", "c", "a")] == [10, 10, 0]
