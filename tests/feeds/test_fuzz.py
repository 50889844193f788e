"""Random bytes and mutated lists, for every parser.

The invariant: a reading ends, in FeedRefused or with every accepted entry in its normal form and named by the text;
entries and rejects together are the rows (spelled-out ranges and several names of one row apart, which count each).
"""

import re
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedkit import read_all
from secondlook.core.url import canonicalize
from secondlook.feeds.detect import Format
from secondlook.feeds.entry import EntryKind, FeedRefused

EXCERPTS = sorted((Path(__file__).parent.parent / "data" / "feeds").glob("*.*"))
TEXTS = [path.read_bytes()[:3_000] for path in EXCERPTS if path.suffix != ".md"]
PIECES = st.sampled_from(
    [
        *(
            b"\n",
            b"\r\n",
            b"\t",
            b",",
            b";",
            b"|",
            b" ",
            b"#",
            b'"',
            b"\x00",
            b"\xff",
            b"[",
            b"{",
            b"@@",
            b"||",
            b"^",
        ),
        *(
            b"$document",
            b"*",
            b"/",
            b"://",
            b"http://",
            b".",
            b"evil.example",
            b"8.8.4.0/30",
            b"[2606:4700::1111]",
        ),
        *(
            b"ab" * 32,
            b"CNAME .",
            b"$ORIGIN a.",
            b"local-zone: ",
            b"0.0.0.0 ",
            b"type,value",
            b"sha256",
            b"url",
        ),
    ]
)


@st.composite
def mutated(draw):
    data = bytearray(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at:at] = draw(PIECES)
            case 1:
                del data[at : at + draw(st.integers(1, 200))]
            case 2:
                data[at : at + 1] = draw(st.binary(max_size=3))
            case _:
                start = draw(st.integers(0, len(data)))
                data[at:at] = data[start : start + draw(st.integers(1, 120))]
    return bytes(data)


def names(entry, data):
    """Tell whether the text names an entry: its host's labels, or its digest, are in it."""
    said = data.decode("utf-8", "replace").lower()
    if entry.kind.is_file:
        return entry.text in said
    host = entry.text.partition("/")[0]
    if host[:1] == "[" or host.rpartition(".")[2].isdigit() or "xn--" in host or "%" in said:
        return True  # in another notation, or a part of a range
    return set(re.findall(r"[a-z0-9_-]+", host)) <= set(re.findall(r"[a-z0-9_-]+", said))


def check(data, form, known_good=False):
    try:
        entries, reading = read_all(data, format=form, known_good=known_good)
    except FeedRefused:
        return
    tally = reading.tally
    assert tally.accepted.total() + tally.exceptions == len(entries)
    assert len(entries) + tally.rejected.total() >= tally.rows > 0
    for entry in entries:
        assert names(entry, data)
        if entry.kind in {EntryKind.HOST, EntryKind.URL}:
            written = f"{entry.text}/" if entry.kind is EntryKind.HOST else entry.text
            assert entry.exception or canonicalize(f"http://{written}").exact == written
            assert entry.exception or entry.hash == sha256(written.encode()).digest()


@pytest.mark.parametrize("form", ["auto", *Format])
@settings(max_examples=15)
@given(
    data=mutated() | st.lists(PIECES | st.binary(max_size=8), max_size=40).map(b"".join), good=st.booleans()
)
def test_whatever_comes_a_parser_takes_what_is_said_or_refuses(form, data, good):
    check(data, str(form), known_good=good)
