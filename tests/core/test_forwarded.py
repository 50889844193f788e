"""`Forwarded` and `X-Forwarded-For`: the RFC's examples, chains, forgeries, and what names nobody. 1 s."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.forwarded import ForwardedError, forwarded_client

BALANCERS = [ip_network("10.0.0.0/24"), ip_network("2001:db8:ba::/48")]


def client(*lines: str) -> str | None:
    fields = []
    for line in lines:
        name, _, value = line.encode("latin-1").partition(b":")
        fields.append((name.strip(), value.strip()))
    return forwarded_client(fields, lambda place: any(place in network for network in BALANCERS))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # RFC 7239, sections 4 and 7.1
        (['Forwarded: For="[2001:db8:cafe::17]:4711"'], "2001:db8:cafe::17"),
        (["Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
        (["Forwarded: for=192.0.2.43, for=198.51.100.17"], "198.51.100.17"),
        (['Forwarded: for=192.0.2.43, for="[2001:db8:cafe::17]"'], "2001:db8:cafe::17"),
        (["Forwarded: for=192.0.2.43", 'forwarded: for="198.51.100.17:80"'], "198.51.100.17"),
        (['Forwarded: for=_hidden, for=192.0.2.43;host="a, b;c=\\"d\\""'], "192.0.2.43"),
        (['Forwarded: for=192.0.2.43 ; proto=https ,, for="10.0.0.1:_obf-1"'], "192.0.2.43"),
        (['Forwarded: by=10.0.0.9;for="192\\.0.2.43";;'], "192.0.2.43"),
        (["X-Forwarded-For: 203.0.113.1, 192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 192.0.2.7 , 10.0.0.3"], "192.0.2.7"),
        (["X-Forwarded-For: 192.0.2.7:51000"], "192.0.2.7"),
        (["X-Forwarded-For: 2001:DB8::7,, 2001:db8:ba::1"], "2001:db8::7"),
        (["X-Forwarded-For: [2001:db8::7]:443"], "2001:db8::7"),
        (["X-Forwarded-For: ::ffff:192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 192.0.2.7, ::ffff:10.0.0.3"], "192.0.2.7"),
        # what its client forged stands to the left of what a balancer wrote, or in a line above
        (["X-Forwarded-For: nonsense, unknown, 192.0.2.7"], "192.0.2.7"),
        (['Forwarded: for="', "Forwarded: for=192.0.2.7"], "192.0.2.7"),
        (["Forwarded: nonsense, for=192.0.2.7"], "192.0.2.7"),
        # both headers, of which one names a balancer, or both the same client
        (["Forwarded: for=192.0.2.7", "X-Forwarded-For: 10.0.0.3"], "192.0.2.7"),
        (["Forwarded: for=192.0.2.7", "X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        # nobody but balancers
        (["Via: 1.1 x"], None),
        (["X-Forwarded-For: "], None),
        (["X-Forwarded-For: 10.0.0.3, 10.0.0.4"], None),
        (['Forwarded: for=10.0.0.3, for="[2001:db8:ba::4]:1"'], None),
    ],
)
def test_the_nearest_that_is_no_balancer_is_the_client(lines, expected):
    assert client(*lines) == expected


@pytest.mark.parametrize(
    "line",
    [
        "Forwarded: for=unknown",
        "Forwarded: for=192.0.2.7, for=UNKNOWN",
        "Forwarded: for=_gazonk",
        'Forwarded: for="_gazonk:_port"',
        "Forwarded: proto=https",
        "Forwarded: for=192.0.2.7;for=192.0.2.8",
        "Forwarded: for=192.0.2.7 proto=https",
        "Forwarded: for = 192.0.2.7",
        "Forwarded: for=[2001:db8::7]",  # must be quoted
        'Forwarded: for="2001:db8::7"',  # must have brackets
        "Forwarded: for=192.0.2.7:80",  # must be quoted
        'Forwarded: for="192.0.2.7:123456"',
        'Forwarded: for="192.0.2.256"',
        "Forwarded: for=192.0.2",
        "Forwarded: for=0300.0.2.7",
        'Forwarded: for="[fe80::1%eth0]"',
        'Forwarded: for="[192.0.2.7]"',
        "Forwarded: for=example.org",
        'Forwarded: for=""',
        # an open quotation of the client's takes in what the balancer adds on the same line
        'Forwarded: for="198.51.100.1, for=192.0.2.7',
        'Forwarded: for="198.51.100.1, for="[2001:db8::7]"',
        "X-Forwarded-For: 192.0.2.7, unknown",
        "X-Forwarded-For: example.org",
        "X-Forwarded-For: fe80::1%eth0",
        "X-Forwarded-For: 192.0.2.7;",
        "X-Forwarded-For: 3221225991",
        "X-Forwarded-For: \xff",
    ],
)
def test_what_has_no_address_names_nobody(line):
    with pytest.raises(ForwardedError):
        client(line)


def test_headers_that_name_different_clients_name_nobody():
    with pytest.raises(ForwardedError, match="different"):
        client("Forwarded: for=192.0.2.9", "X-Forwarded-For: 192.0.2.7")


def written(address) -> st.SearchStrategy[tuple[str, str]]:
    """Give the ways in which a hop is written in each header."""
    ports = st.sampled_from(["", ":1", ":65535"])
    if address.version == 4:
        quoted = ports.map(lambda port: f'for="{address}{port}"')
        return st.tuples(st.one_of(st.just(f"for={address}"), quoted), ports.map(f"{address}".__add__))
    bare = st.just(str(address.exploded).upper())
    return st.tuples(
        ports.map(lambda port: f'For="[{address}]{port}"'),
        st.one_of(bare, ports.map(lambda port: f"[{address}]{port}")),
    )


ADDRESSES = st.ip_addresses().filter(lambda place: getattr(place, "ipv4_mapped", None) is None)
OURS = st.one_of(st.ip_addresses(network=BALANCERS[0]), st.ip_addresses(network=BALANCERS[1]))
OTHERS = ADDRESSES.filter(lambda place: not any(place in network for network in BALANCERS))
LINE_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)


@given(OTHERS, st.lists(OURS, max_size=4), LINE_TEXT, st.data())
def test_whatever_a_client_sends_itself_the_balancers_words_count(real, chain, forged, data):
    """A client behind any chain of balancers, each of which adds a line, is who connected to the first."""
    hops = [data.draw(written(place)) for place in (real, *chain)]
    for name, index in (("Forwarded", 0), ("X-Forwarded-For", 1)):
        lines = [f"{name}: {forged}", *(f"{name}: {hop[index]}" for hop in hops)]
        assert client(*lines) == str(real)
        joined = [hop[index] for hop in hops]
        assert client(f"{name}: {', '.join(joined)}") == str(real)
        try:  # added to the client's own line
            found = client(f"{name}: {', '.join([forged, *joined])}")
        except ForwardedError:
            continue  # a quotation of the client's was open
        assert found == str(real)


@given(
    st.lists(
        st.tuples(st.sampled_from([b"Forwarded", b"x-forwarded-for"]), st.binary(max_size=60)), max_size=4
    )
)
def test_whatever_comes_is_an_address_that_is_no_balancers_or_nobody(fields):
    try:
        found = forwarded_client(fields, lambda place: any(place in network for network in BALANCERS))
    except ForwardedError:
        return
    assert found is None or not any(ip_address(found) in network for network in BALANCERS)
