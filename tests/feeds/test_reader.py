"""Feeds as a whole: what is no feed is refused, and random bytes break nothing."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedkit import read_all
from fuzzkit.effort import grows_evenly
from secondlook.core.lists.feed_format import Format
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


STIX_OF = '{"type": "bundle", "objects": [{"type": "indicator", "id": "indicator--1", "pattern": "%s"}]}'
LONG = {
    "comments before a page": ("plain", lambda size: "<!---->" * (size // 100) + "x"),
    "blanks in a line": ("plain", lambda size: "a" + " " * size + "b"),
    "blanks in a line of a hosts file": ("plain", lambda size: "0.0.0.0 a" + " " * size + "b"),
    "blanks behind a declared number": ("plain", lambda size: "# entries: 1" + " " * size + "x"),
    "blanks in a rule": ("adblock", lambda size: "||a.example^" + " " * size + "x"),
    "modifiers": ("adblock", lambda size: "||a.example^" + "$a=" * size + ",!"),
    "slashes": ("adblock", lambda size: "|http://a.example/" + "/" * size + "x"),
    "question marks": ("adblock", lambda size: "|http://a.example/" + "?" * size + "x"),
    "blanks behind a zone": (
        "bind",
        lambda size: 'zone "a.example" {type master; file "null";}' + " " * size + "x",
    ),
    "letters beside a URL": ("digests", lambda size: "://" + "a" * size),
    "a column's name": ("csv", lambda size: "url," + "a" * size + "!\nhttp://a.example/x,y"),
    "entries that do not end": ("auto", lambda size: "<?xml ?><phish_id>" + "<entry>" * size + "</output>"),
    "blanks in an entry": (
        "auto",
        lambda size: "<?xml ?><phish_id><entry><url>" + " " * size + "</entry></output>",
    ),
    "a pattern that is none": ("stix", lambda size: STIX_OF % ("a-" * size)),
    "a string that does not end": ("json", lambda size: '[{"url": "' + '\\"' * size),
}


@pytest.mark.parametrize("name", LONG)
def test_a_hostile_line_is_not_gone_through_again_and_again(name):
    form, make = LONG[name]

    def reading(size):
        with suppress(FeedRefused):
            read_all(f"{make(size)}\n", format=form)

    assert grows_evenly(reading, 4_000)
