"""Feeds as a whole: what is no feed is refused, and random bytes break nothing."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedkit import read_all
from secondlook.feeds.detect import Format
from secondlook.feeds.entries.entry import EntryKind, FeedRefused
from secondlook.feeds.reader import PARSERS, read
from secondlook.suffix import load_suffixes

SUFFIXES = load_suffixes()


def test_every_format_has_a_parser():
    assert set(PARSERS) == set(Format)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \r\n\x00\x00", "empty"),
        (b"# only\n# comments\n", "empty"),
        (b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "HTML"),
        (b"\n<html>\n", "HTML"),
        (b'<?xml version="1.0"?><rss></rss>', "XML"),
        (bytes(range(256)) * 20, "binary"),
        (b"\x7fELF" + bytes(200), "binary"),
        (b"list1.txt\nlist2.txt\n", "manifest"),
        (b"Service temporarily unavailable\n", "not understood"),
        (b'{"error": "quota exceeded"}', "JSON"),
    ],
)
def test_what_is_no_feed_is_refused_as_a_whole(data, reason):
    with pytest.raises(FeedRefused, match=reason):
        read_all(data)


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html>\n<html>\n<a href=//portal.example/>\nportal.example\n</html>", "HTML"),
        (bytes(range(256)) * 20 + b"\nevil.example\n", "binary"),
    ],
)
def test_no_format_makes_a_feed_of_what_is_none(form, data, reason):
    with pytest.raises(FeedRefused, match=reason):
        read_all(data, format=form.value)


def test_the_operator_may_name_the_format():
    assert read_all("0.0.0.0 a.example\n", format="hosts")[0][0].text == "a.example"
    with pytest.raises(FeedRefused):
        read_all("0.0.0.0 a.example\n", format="dnsmasq")
    with pytest.raises(ValueError, match="nonsense"):
        read([], suffixes=SUFFIXES, format="nonsense")


LINES = st.lists(
    st.sampled_from(
        [
            *(
                "a.example",
                "||b.example^$all",
                "@@||c.example^",
                "0.0.0.0 d.example",
                "address=/e.example/0.0.0.0",
            ),
            *(
                'local-zone: "f.example" static',
                "g.example CNAME .",
                "$TTL 30",
                "-d h.example",
                "# x",
                "! x",
                "",
            ),
            *(
                "ab" * 32,
                "cd" * 16 + ":10:X",
                '"1","2","http://i.example/a"',
                "id,url,urlhaus_link",
                "{",
                "}",
                "[",
            ),
            *(
                '{"Event": {"Attribute": [',
                '{"type": "indicator", "pattern": "[url:value = ',
                '"to_ids": true',
                "]}",
            ),
            *(
                "[url:value = 'http://x.example/']",
                "INSERT INTO x VALUES('",
                "<entry><url>http://j.example/</url>",
            ),
        ]
    )
    | st.text(max_size=20),
    max_size=12,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["auto", *Format]), st.binary() | LINES, st.integers(1, 40), st.booleans())
def test_random_input_breaks_no_parser(form, data, size, known_good):
    try:
        entries, reading = read_all(data, size=size, format=form, known_good=known_good)
    except FeedRefused:
        return
    tally = reading.tally
    assert len(entries) == tally.accepted.total() + tally.exceptions
    assert all(len(entry.hash) == 32 for entry in entries)
    assert tally.rejected.total() >= len(tally.rejects) or tally.rejected.total() == len(tally.rejects)
    if known_good:
        assert not {EntryKind.MD5, EntryKind.SHA1} & set(tally.accepted)


@given(LINES, st.integers(1, 40))
def test_where_the_chunks_are_cut_does_not_matter(data, size):
    def outcome(step):
        try:
            return [tuple(entry) for entry in read_all(data, size=step)[0]]
        except FeedRefused as refusal:
            return str(refusal)

    assert outcome(size) == outcome(65_536)
