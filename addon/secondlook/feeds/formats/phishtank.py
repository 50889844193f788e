"""PhishTank's XML as it streams by; read without an XML parser, hence without entities to abuse."""

import html
import re
from collections.abc import Iterable, Iterator

from secondlook.feeds.entries.entry import Entry, FeedRefused, RejectClass
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.row import reader_of
from secondlook.feeds.unpacking.text import text_chunks

MAX_ENTRY_CHARS = 1_000_000

_ENTRY = re.compile(r"<entry\b[^>]*>(.*?)</entry>", re.DOTALL)
_FIELD = re.compile(r"<(url|verified|online|submission_time|target|phish_id)>\s*(.*?)\s*</\1>", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)


def parse_phishtank_xml(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read the entries; raises FeedRefused when the document ends before its last element does."""
    reader = reader_of(("phish_id", "url"))
    assert reader is not None
    held = ""
    line = 1
    for piece in text_chunks(chunks):
        held += piece
        end = 0
        for found in _ENTRY.finditer(held):
            line += held.count("\n", end, found.end())
            end = found.end()
            row = {name: _text(value) for name, value in _FIELD.findall(found[1])}
            tally.rows += 1
            made = reader(row, maker) if "url" in row else RejectClass.NOT_UNDERSTOOD
            entry = tally.settle(line, made, row.get("url", found[1])[:200])
            if entry is not None:
                yield entry
        held = held[end:]
        if len(held) > MAX_ENTRY_CHARS:
            raise FeedRefused("damaged: the XML document holds no entries")
    if "</output>" not in held and "</entries>" not in held:
        raise FeedRefused("truncated: the XML document ends early")


def _text(value: str) -> str:
    inner = _CDATA.fullmatch(value)
    return inner[1] if inner is not None else html.unescape(value)
