import pytest

from feedkit import outcomes, read_all


def test_dnsmasq():
    feed = (
        "address=/evil.example/0.0.0.0\naddress=/a.example/b.example/::\nlocal=/c.example/\nserver=/d.example/\n"
        "server=/good.example/#\nserver=/corp.example/10.0.0.1\naddress=/real.example/93.184.216.34\n"
        "address=/#/0.0.0.0\naddress=/e.example/ # why\nport=53\n"
        "address=/f.example/::\t# why\n"
    )
    assert outcomes(feed) == [
        *("evil.example", "a.example", "b.example", "c.example", "d.example", "@@good.example", "e.example"),
        "f.example",
        *("6: rule that blocks no host", "7: rule that blocks no host"),
        *("8: wildcard or regular expression", "10: not understood"),
    ]


def test_unbound():
    feed = (
        'server:\nlocal-zone: "evil.example" always_nxdomain\nlocal-zone: "a.example." static\n'
        'local-zone: "good.example" transparent\nlocal-zone: "x.example" typo\n'
        'local-data: "b.example A 0.0.0.0"\nlocal-data: "real.example A 93.184.216.34"\ninclude: other.conf\nwhat\n'
        'local-zone: "search.example" redirect\nlocal-data: "search.example 60 IN CNAME safe.search.example."\n'
    )
    assert outcomes(feed) == [
        *("evil.example", "a.example", "@@good.example", "b.example", "search.example", "@@search.example"),
        *("5: rule that blocks no host", "7: rule that blocks no host", "9: not understood"),
    ]


def test_bind():
    feed = (
        'zone "evil.example" { type master; notify no; file "null.zone.file"; };\n'
        'zone "a.example" IN { type primary; file "/etc/bind/db.empty"; };\n'
        'zone "own.example" { type master; file "own.example.db"; };\n'
        'zone "b.example" { type forward; forwarders { 10.0.0.1; }; };\n'
    )
    assert outcomes(feed) == [
        "evil.example",
        "a.example",
        "3: rule that blocks no host",
        "4: rule that blocks no host",
    ]


def test_rpz():
    feed = (
        "$TTL 30\n$ORIGIN rpz.local.\n@ IN SOA localhost. root.localhost. (\n 1 ; serial\n 2 3 4 5 )\n NS localhost.\n"
        "evil.example CNAME .\n*.evil.example CNAME .\na.example 1h30m IN CNAME *.\nb.example CNAME rpz-drop.\n"
        "good.example CNAME rpz-passthru.\n*.wild.example CNAME .\nc.example.rpz.local. CNAME .\n"
        "d.example A 0.0.0.0\nwww.search.example CNAME safe.search.example.\n"
        "32.10.100.51.8.rpz-ip CNAME .\n24.0.100.51.8.rpz-ip CNAME .\n128.1111.zz.4700.2606.rpz-ip CNAME .\n"
        "ns.evil.example.rpz-nsdname CNAME .\nother.example. CNAME .\n"
    )
    assert outcomes(feed) == [
        *(
            "evil.example",
            "evil.example",
            "a.example",
            "b.example",
            "@@good.example",
            "c.example",
            "d.example",
        ),
        *("8.51.100.10", "[2606:4700::1111]"),
        *("12: wildcard or regular expression", "15: rule that blocks no host", "17: address range too wide"),
        *("19: indicator of a kind that is not checked here", "20: not understood"),
    ]


def test_a_zone_of_four_rows():
    begins = "@ 3600 IN SOA localhost. root.localhost. (\n 1 ; serial\n 2\n 3\n 4\n 5 )\n  IN NS localhost.\n"
    for begin in (f"$TTL 2h\n{begins}", f"; made by hand\n{begins}"):
        entries, reading = read_all(begin + "evil.example CNAME .\n")
        assert reading.format == "rpz"
        assert [entry.text for entry in entries] == ["evil.example"]


def test_tracking_protection_lists():
    feed = "msFilterList\n: Expires=1\n#\n-d evil.example\n-d a.example /ads/\n+d good.example\n- banner\n-d b.example\n"
    assert outcomes(feed) == [
        *("evil.example", "@@good.example", "b.example"),
        *("5: wildcard or regular expression", "7: wildcard or regular expression"),
    ]


@pytest.mark.parametrize("form", ["dnsmasq", "unbound", "bind", "rpz"])
def test_real_excerpts(test_data, form):
    entries, reading = read_all((test_data / "feeds" / f"urlhaus-{form}.conf").read_bytes())
    assert reading.format == form
    assert (len(entries), reading.tally.rejected.total()) == (7 if form == "rpz" else 8, 0)


def test_real_excerpt_of_a_tracking_protection_list(test_data):
    entries, reading = read_all((test_data / "feeds" / "urlhaus-online.tpl").read_bytes())
    assert (reading.format, len(entries), reading.tally.rejected.total()) == ("tpl", 9, 0)


@pytest.mark.parametrize(
    "begin",
    [
        "rpz.example.net.\t60\tIN\tSOA\tns. host. 1 1 1 1 1\nrpz.example.net.\t60\tIN\tNS\tlocalhost.\n",
        "$ORIGIN .\nrpz.example.net 60 IN SOA ns. host. 1 1 1 1 1\n",
        "$ORIGIN rpz.example.net.\n@ 60 IN SOA ns. host. 1 1 1 1 1\n",
    ],
)
def test_names_in_full_end_in_the_zone_s_own(begin):
    rows = (
        "evil.example.com.rpz.example.net. 60 IN CNAME .\n*.evil.example.com.rpz.example.net. 60 IN CNAME .\n"
        "good.example.com.rpz.example.net. 60 IN CNAME rpz-passthru.\nother.example.com. 60 IN CNAME .\n"
        "$ORIGIN example.org.rpz.example.net.\nbad CNAME .\n$ORIGIN example.org.\nworse CNAME .\n"
    )
    assert outcomes(begin + rows, format="rpz")[:4] == [
        *("evil.example.com", "evil.example.com", "@@good.example.com", "bad.example.org"),
    ]
    assert len(outcomes(begin + rows, format="rpz")) == 6


def test_relative_names_stand_below_the_zone_whatever_it_is_called():
    begin = "rpz.example.net. 60 IN SOA ns. host. 1 1 1 1 1\n"
    assert outcomes(begin + "evil.example.com CNAME .\n", format="rpz") == ["evil.example.com"]
