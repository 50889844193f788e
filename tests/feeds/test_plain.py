import pytest

from feedkit import outcomes, read_all, texts
from secondlook.feeds.entries.entry import FeedRefused, RejectClass
from secondlook.feeds.unpacking.text import MAX_LINE_CHARS


def test_one_thing_a_line():
    digest = "ab" * 32
    feed = f"# names\nevil.example\n\n8.8.4.4\nhttp://evil.example/x\n*.bad.example\n{digest}\n! no\n; no\n// no\n"
    entries, reading = read_all(feed)
    assert [entry.text for entry in entries] == [
        "evil.example",
        "8.8.4.4",
        "evil.example/x",
        "bad.example",
        digest,
    ]
    assert (reading.tally.rows, reading.tally.comments, reading.tally.blanks) == (5, 4, 1)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("evil.example # said so", "evil.example"),
        ("evil.example\t// said so", "evil.example"),
        ("http://evil.example/a#b # said so", "evil.example/a"),
        ("8.8.4.4\t3", "8.8.4.4"),
        ("8.8.4.4 12", "8.8.4.4"),
        ("  evil.example  ", "evil.example"),
        ("*.8.8.4.4", "8.8.4.4"),
    ],
)
def test_what_stands_beside_an_entry(line, text):
    assert texts(line) == [text]


def test_small_ranges_are_spelled_out_and_wide_ones_rejected():
    assert texts("8.8.4.0/30\n") == ["8.8.4.0", "8.8.4.1", "8.8.4.2", "8.8.4.3"]
    assert len(texts("8.8.4.0/24\n")) == 256
    assert texts("8.8.4.0/255.255.255.252\n") == texts("8.8.4.0/0.0.0.3\n") == texts("8.8.4.0/30\n")
    assert (
        texts("[2606:4700::1110]/127\n")
        == texts("2606:4700::1110/127\n")
        == [
            "[2606:4700::1110]",
            "[2606:4700::1111]",
        ]
    )
    assert outcomes("8.8.4.4\n[2606:4700::]/32\n") == ["8.8.4.4", "2: address range too wide"]
    assert outcomes("8.8.4.4\n8.8.4.0/255.255.254.0\n8.8.4.0/255.0.255.0\n8.8.4.0 255.255.255.0\n") == [
        "8.8.4.4",
        "2: address range too wide",
        "3: malformed IP address",
        "4: not understood",
    ]
    assert outcomes("8.8.4.4\n8.8.4.0/23\n1.1.1.1-1.1.1.9\n2606:4700::/32\n8.8.4.0/99\n") == [
        "8.8.4.4",
        "2: address range too wide",
        "3: address range too wide",
        "4: address range too wide",
        "5: malformed IP address",
    ]


def test_hosts_files():
    feed = (
        "127.0.0.1 localhost\n::1 localhost ip6-localhost\n0.0.0.0 0.0.0.0\n"
        "0.0.0.0 a.example b.example # two\n127.0.0.1\tc.example\n::  d.example.\n0 e.example\n"
        "93.184.216.34 good.example\n"
    )
    entries, reading = read_all(feed)
    assert reading.format == "hosts"
    assert [entry.text for entry in entries] == [
        "a.example",
        "b.example",
        "c.example",
        "d.example",
        "e.example",
    ]
    assert reading.tally.rejected == {RejectClass.LOCAL: 4, RejectClass.NOT_A_BLOCK: 1}
    assert reading.tally.rows == 10


def test_byte_order_marks_line_ends_and_encodings():
    expected = ["a.example", "xn--bcher-kva.example"]
    text = "a.example\nbücher.example\n"
    assert texts("\ufeff" + text) == expected
    assert texts(text.replace("\n", "\r\n")) == expected
    assert texts(text.replace("\n", "\r")) == expected
    assert texts(text.encode("utf-16")) == expected
    assert texts(text.encode("utf-16-be").join([b"\xfe\xff", b""])) == expected
    assert texts(text.removesuffix("\n")) == expected
    assert outcomes(b"a.example\nb\xfccher.example\n\x00\nc.exam\x00ple\n") == [
        "a.example",
        "2: impossible host name",
        "3: not understood",
        "4: not understood",
    ]


@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_chunks_of_any_size(size):
    feed = "a.example\r\nbücher.example\r\nc.example"
    assert [entry.text for entry in read_all(feed, size=size)[0]] == [
        "a.example",
        "xn--bcher-kva.example",
        "c.example",
    ]


def test_an_endless_line_is_one_reject():
    feed = b"a.example\n" + b"x" * (MAX_LINE_CHARS * 30) + b"\nb.example\n" + b"y" * (MAX_LINE_CHARS + 1)
    assert outcomes(feed) == ["a.example", "b.example", "2: line too long", "4: line too long"]
    assert outcomes(b"a.example\n" + b"x" * MAX_LINE_CHARS)[1:] == ["2: impossible host name"]


@pytest.mark.parametrize("header", ["# Number of entries: 3", "! Entries: 3", "#  Domains: 3"])
def test_fewer_entries_than_declared_are_refused(header):
    assert len(texts(f"{header}\na.example\nb.example\nc.example\n")) == 3
    with pytest.raises(FeedRefused, match="truncated: the feed declares 3 entries and holds 2"):
        read_all(f"{header}\na.example\nb.example\n")


@pytest.mark.parametrize(
    ("name", "form", "count"),
    [
        ("urlhaus-hosts.txt", "hosts", 8),
        ("urlhaus-domains.txt", "plain", 8),
        ("urlhaus-wildcard.txt", "plain", 8),
        ("urlhaus-dnscrypt-blocked-names.txt", "plain", 8),
        ("urlhaus-dnscrypt-blocked-ips.txt", "plain", 8),
        ("ipsum.txt", "plain", 8),
    ],
)
def test_real_excerpts(test_data, name, form, count):
    entries, reading = read_all((test_data / "feeds" / name).read_bytes())
    assert (reading.format, len(entries), reading.tally.rejected.total()) == (form, count, 0)


def test_what_a_tab_separates_is_not_joined():
    assert outcomes(
        "http://a.example\tonline\nhttp://b.example/\tx\nc.example\tonline\n\thttp://d.example/x\t\n"
    ) == [
        "d.example/x",
        "1: not understood",
        "2: not understood",
        "3: not understood",
    ]


def test_an_address_without_scheme_is_no_comment():
    feed = "a.example\n//b.example/x\n// a comment\n//=====\n//another: it.is one\n"
    assert outcomes(feed) == ["a.example", "2: not understood"]
    assert read_all(feed)[1].tally.comments == 3


def test_a_range_that_is_refused_is_one_reject():
    assert outcomes("192.168.7.0/24\n8.8.8.0/30\n") == [
        *("8.8.8.0", "8.8.8.1", "8.8.8.2", "8.8.8.3", "1: local name or address")
    ]
