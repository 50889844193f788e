"""Public lists, as real ones begin and as strangers may continue them."""

import re
import unicodedata
from hashlib import sha256

from hypothesis import strategies as st

from conftest import REPOSITORY
from feedkit import read_all
from fuzzkit import fuzz, mutated
from secondlook.core.lists.feed_format import Format
from secondlook.core.url.canonical import canonicalize
from secondlook.feeds.entries.entry import EntryKind, FeedRefused

DIGEST_BYTES = 32
FOLDER = REPOSITORY / "tests/data/feeds"
SEEDS = [path.read_bytes()[:2000] for path in sorted(FOLDER.iterdir()) if path.name != "README.md"]
PIECES = [
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
    b"$document",
    b"*",
    b"/",
    b"://",
    b"http://",
    b".",
    b"evil.example",
    b"8.8.4.0/30",
    b"[2606:4700::1111]",
    b"ab" * 32,
    b"CNAME .",
    b"$ORIGIN a.",
    b"local-zone: ",
    b"0.0.0.0 ",
    b"type,value",
    b"sha256",
    b"url",
]


def names(entry, data):
    """Tell whether the text names an entry: its host's labels, or its digest, are in it."""
    said = data.decode("utf-8", "replace").lower().replace('"', "")  # a cell in quotes may go on behind them
    said = unicodedata.normalize("NFKC", said)  # what a host's letters are mapped to (UTS 46)
    if entry.kind not in {EntryKind.HOST, EntryKind.URL}:
        return entry.text in said
    host = entry.text.partition("/")[0]
    if host[:1] == "[" or host.rpartition(".")[2].isdigit() or "xn--" in host or "%" in said:
        return True  # in another notation, or a part of a range
    return set(re.findall(r"[a-z0-9_-]+", host)) <= set(re.findall(r"[a-z0-9_-]+", said))


@fuzz(
    data=mutated([*SEEDS, b"".join(PIECES)]),
    form=st.sampled_from(["auto", *Format]),
    known_good=st.booleans(),
)
def test_every_parser(data, form, known_good):
    """A feed is refused with words, or each row is counted, and each entry is in normal form and named by the text."""
    try:
        entries, reading = read_all(data, format=form, known_good=known_good)
    except FeedRefused as refusal:
        assert str(refusal)
        return
    tally = reading.tally
    assert len(entries) == tally.accepted.total() + tally.exceptions
    assert len(entries) + tally.rejected.total() >= tally.rows > 0
    for entry in entries:
        assert len(entry.hash) == DIGEST_BYTES
        assert names(entry, data)
        if not entry.exception and entry.kind in {EntryKind.HOST, EntryKind.URL}:
            written = f"{entry.text}/" if entry.kind is EntryKind.HOST else entry.text
            assert canonicalize(f"http://{written}").text == f"http://{written}"
            assert entry.hash == sha256(written.encode()).digest()


@fuzz(data=mutated(SEEDS), size=st.integers(1, 500))
def test_where_it_is_cut(data, size):
    """How a feed comes in pieces makes no difference to what is read."""

    def outcome(step: int) -> object:
        try:
            return [tuple(entry) for entry in read_all(data, size=step)[0]]
        except FeedRefused as refusal:
            return str(refusal)

    assert outcome(size) == outcome(1 << 16)
