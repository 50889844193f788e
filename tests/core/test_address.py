import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.url.address import (
    AddressClass,
    bracketed,
    classify,
    counted_address,
    host_text,
    is_loopback,
    parse_address,
    parse_ipv4,
    parse_ipv6,
    with_port,
)

GO = json.loads(
    (Path(__file__).resolve().parent.parent / "data" / "url" / "gsb_go_vectors.json").read_text(
        encoding="utf-8"
    )
)
# resolvers and browsers refuse what that client masks; what follows a blank is cut before (see core.url)
DIFFERENT = {"276.2.3", "10.192.95.89 xy"}


@pytest.mark.parametrize("vector", GO["parse_ip"], ids=lambda vector: vector["in"])
def test_notations_of_googles_own_client(vector):
    found = parse_ipv4(vector["in"])
    expected = vector["out"] if vector["in"] not in DIFFERENT else ""
    assert (str(found) if found else "") == expected


@pytest.mark.parametrize("text", ["", ".", "1.", "1..2", "08", "0x1g", "1.2.3.256", "4294967296", "-1", "１"])
def test_no_address(text):
    assert parse_ipv4(text) is None


def test_bare_0x_is_zero_as_in_browsers():
    assert parse_ipv4("0x") == IPv4Address(0)
    assert parse_ipv4("1.0x") == IPv4Address("1.0.0.0")


@given(st.ip_addresses(v=4))
def test_every_ipv4_notation_is_read_back(address):
    number = int(address)
    for text in (
        str(address),
        str(number),
        hex(number),
        f"0{number:o}",
        f"{number >> 24}.{number & 0xFFFFFF}",
    ):
        assert parse_ipv4(text) == address
    assert parse_ipv6(f"::ffff:{address}") == address
    assert parse_ipv6(f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}") == address


@given(st.ip_addresses(v=6))
def test_ipv6_text_is_shortest_and_read_back(address):
    text = host_text(address)
    assert ip_address(text[1:-1]) == address
    if "." not in address.compressed:  # newer Pythons write mapped addresses with dots
        assert text == f"[{address.compressed}]"


@given(st.text() | st.text("0123456789abcdefx:.%[]"))
def test_any_text_is_an_address_or_none(text):
    found = parse_address(text)
    assert found is None or isinstance(found, IPv4Address | IPv6Address)


@pytest.mark.parametrize(
    ("text", "cls"),
    [
        ("8.8.8.8", AddressClass.PUBLIC),
        ("2606:4700::1111", AddressClass.PUBLIC),
        ("127.0.0.1", AddressClass.LOOPBACK),
        ("0x7f.1", AddressClass.LOOPBACK),
        ("::1", AddressClass.LOOPBACK),
        ("::ffff:127.0.0.1", AddressClass.LOOPBACK),
        ("64:ff9b::7f00:1", AddressClass.LOOPBACK),
        ("2002:7f00:1::", AddressClass.LOOPBACK),
        ("0.0.0.0", AddressClass.UNSPECIFIED),
        ("0.1.2.3", AddressClass.UNSPECIFIED),
        ("::", AddressClass.UNSPECIFIED),
        ("10.1.2.3", AddressClass.PRIVATE),
        ("100.64.0.1", AddressClass.PRIVATE),
        ("fd00::1", AddressClass.PRIVATE),
        ("169.254.1.1", AddressClass.LINK_LOCAL),
        ("fe80::1", AddressClass.LINK_LOCAL),
        ("169.254.169.254", AddressClass.METADATA),
        ("::ffff:169.254.169.254", AddressClass.METADATA),
        ("fd00:ec2::254", AddressClass.METADATA),
        ("168.63.129.16", AddressClass.METADATA),
        ("224.0.0.1", AddressClass.MULTICAST),
        ("ff02::1", AddressClass.MULTICAST),
        ("240.0.0.1", AddressClass.RESERVED),
    ],
)
def test_classes(text, cls):
    address = parse_address(text)
    assert address is not None
    assert classify(address) is cls


def test_classes_of_addresses_not_yet_unwrapped():
    assert classify(IPv6Address("::ffff:169.254.169.254")) is AddressClass.METADATA
    assert classify(IPv6Address("64:ff9b::a00:1")) is AddressClass.PRIVATE


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2"),
        ("2001:db8::1", "2001:db8:0:0"),
        ("::1", "0:0:0:0"),
        ("fe80::1%eth0", "fe80:0:0:0"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("", ""),
    ],
)
def test_an_ipv6_address_counts_as_its_network(host, counted):
    assert counted_address(host) == counted


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("a.localhost", True),
     ("10.0.0.1", False), ("sps.test", False), ("127.0.0.1.nip.io", False), ("", False), ("127.1", False)],
)  # fmt: skip
def test_which_hosts_are_this_machine(host, here):
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("host", "in_url", "with_its_port"),
    [("example.test", "example.test", "example.test:80"), ("::1", "[::1]", "[::1]:80")],
)
def test_an_ipv6_address_stands_in_brackets(host, in_url, with_its_port):
    assert (bracketed(host), with_port(host, 80)) == (in_url, with_its_port)
