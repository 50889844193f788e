"""PhishTank's XML as it streams by; read without an XML parser, hence without entities to abuse."""

import re
from collections.abc import Iterable, Iterator

from secondlook.feeds.entries.entry import Entry, FeedRefused, RejectClass
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.row import reader_of, unescaped
from secondlook.feeds.unpacking.text import text_chunks

MAX_ENTRY_CHARS = 1_000_000

_TAG = re.compile(r"<(/?)(url|verified|online|submission_time|target|phish_id)>")
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
        while (close := held.find("</entry>", end)) >= 0:
            begin = held.find("<entry", end, close)
            line += held.count("\n", end, close)
            end = close + len("</entry>")
            if begin < 0:
                continue
            row = _fields(held[begin:close])
            tally.rows += 1
            made = reader(row, maker) if "url" in row else RejectClass.NOT_UNDERSTOOD
            yield from tally.settled(line, made, row.get("url", held[begin:close])[:200])
        held = held[end:]
        if len(held) > MAX_ENTRY_CHARS:
            raise FeedRefused("damaged: the XML document holds no entries")
    if "</output>" not in held and "</entries>" not in held:
        raise FeedRefused("truncated: the XML document ends early")


def _fields(entry: str) -> dict[str, str]:
    row: dict[str, str] = {}
    name, start = "", 0
    for tag in _TAG.finditer(entry):
        if not name and not tag[1]:
            name, start = tag[2], tag.end()
        elif tag[1] and tag[2] == name:
            row[name] = _text(entry[start : tag.start()].strip())
            name = ""
    return row


def _text(value: str) -> str:
    inner = _CDATA.fullmatch(value)
    return inner[1] if inner is not None else unescaped(value)
