"""The PROXY protocol: examples of its specification, cuts at every byte, and what is no header. 1 s."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.proxy_header import LONGEST_BYTES, ProxyHeader, ProxyHeaderError, read_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
SOURCE, DESTINATION = ("192.0.2.7", 56324), ("198.51.100.1", 8080)
SOURCE6, DESTINATION6 = ("2001:db8::7", 1), ("2001:db8::1", 65535)


def binary(command: int, family: int, addresses: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses)) + addresses


def packed(family: int, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    hosts = [socket.inet_pton(family, host) for host, _ in (source, destination)]
    return b"".join(hosts) + struct.pack("!HH", source[1], destination[1])


V2 = binary(0x21, 0x11, packed(socket.AF_INET, SOURCE, DESTINATION))
V2_6 = binary(0x21, 0x21, packed(socket.AF_INET6, SOURCE6, DESTINATION6))
WHOLE = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8080\r\n": (SOURCE, DESTINATION),
    b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n": (SOURCE6, DESTINATION6),
    b"PROXY UNKNOWN\r\n": (None, None),
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n": (None, None),
    V2: (SOURCE, DESTINATION),
    V2_6: (SOURCE6, DESTINATION6),
    binary(0x21, 0x11, packed(socket.AF_INET, SOURCE, DESTINATION) + b"\x03\x00\x04abcd"): (
        SOURCE,
        DESTINATION,
    ),
    binary(0x20, 0x00, b""): (None, None),  # a health check of the balancer
    binary(0x20, 0x11, packed(socket.AF_INET, SOURCE, DESTINATION)): (None, None),
    binary(0x21, 0x00, b"anything"): (None, None),
    binary(0x21, 0x31, bytes(216)): (None, None),  # a unix socket
}


@pytest.mark.parametrize(("data", "places"), WHOLE.items())
def test_a_header_is_read_wherever_it_is_cut_and_nothing_behind_it(data, places):
    assert all(read_proxy_header(data[:size]) is None for size in range(len(data)))
    for behind in (b"", b"CONNECT a:443 HTTP/1.1\r\n", data):
        assert read_proxy_header(data + behind) == ProxyHeader(len(data), *places)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"proxy TCP4",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8080 \r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 056 8080\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 8080\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP6 fe80::7%eth0 2001:db8::1 1 2\r\n",
        b"PROXY TCP4 example.org 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n" + bytes(100),
        b"PROXY UNKNOWN" + b" " * 100,
        binary(0x31, 0x11, packed(socket.AF_INET, SOURCE, DESTINATION)),
        binary(0x22, 0x11, packed(socket.AF_INET, SOURCE, DESTINATION)),
        binary(0x21, 0x11, bytes(11)),
        binary(0x21, 0x21, bytes(35)),
        binary(0x21, 0x11, bytes(LONGEST_BYTES - 15))[:16],
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(ProxyHeaderError):
        read_proxy_header(data)


def test_extensions_are_taken_up_to_the_longest_header():
    longest = binary(0x21, 0x11, packed(socket.AF_INET, SOURCE, DESTINATION) + bytes(LONGEST_BYTES - 28))
    assert len(longest) == LONGEST_BYTES
    header = read_proxy_header(longest)
    assert header is not None
    assert (header.size, header.source) == (LONGEST_BYTES, SOURCE)


@given(st.sampled_from(list(WHOLE)), st.binary(max_size=40), st.integers(0, 60))
def test_whatever_comes_is_a_header_or_an_error_or_not_yet_whole(start, noise, kept):
    try:
        header = read_proxy_header(start[:kept] + noise)
    except ProxyHeaderError:
        return
    assert header is None or header.size <= kept + len(noise)
