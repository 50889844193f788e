"""Reading a feed: unpack it, detect its format, run its parser, count everything.

chunks ──► unpack ──► members of an archive ──► detect ──► parser ──► entries
                                                             └────────► tally
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from secondlook.core.lists.feed_format import Format
from secondlook.core.url.expression import Suffixes
from secondlook.feeds.detect import JSON_FORMS, SAMPLE_CHARS, detect, refuse_what_is_no_feed
from secondlook.feeds.entries.entry import Entry, FeedRefused
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.adblock import parse_adblock
from secondlook.feeds.formats.digests import parse_clamav, parse_digests, parse_nsrl
from secondlook.feeds.formats.dns import parse_bind, parse_dnsmasq, parse_rpz, parse_tpl, parse_unbound
from secondlook.feeds.formats.phishtank import parse_phishtank_xml
from secondlook.feeds.formats.plain import parse_hosts, parse_plain
from secondlook.feeds.formats.records import (
    parse_hashlookup,
    parse_misp_event,
    parse_records,
    parse_warninglist,
)
from secondlook.feeds.formats.stix import parse_stix
from secondlook.feeds.formats.table import parse_table
from secondlook.feeds.unpacking.archive import members
from secondlook.feeds.unpacking.text import text_chunks

type Parser = Callable[[Iterable[bytes], Maker, Tally], Iterator[Entry]]

AUTO = "auto"
MAX_SKIPPED_NAMED = 1_000
PARSERS: dict[Format, Parser] = {
    Format.PLAIN: parse_plain,
    Format.HOSTS: parse_hosts,
    Format.ADBLOCK: parse_adblock,
    Format.DNSMASQ: parse_dnsmasq,
    Format.UNBOUND: parse_unbound,
    Format.BIND: parse_bind,
    Format.RPZ: parse_rpz,
    Format.TPL: parse_tpl,
    Format.TABLE: parse_table,
    Format.DIGESTS: parse_digests,
    Format.CLAMAV: parse_clamav,
    Format.NSRL: parse_nsrl,
    Format.RECORDS: parse_records,
    Format.MISP: parse_misp_event,
    Format.WARNINGLIST: parse_warninglist,
    Format.STIX: parse_stix,
    Format.HASHLOOKUP: parse_hashlookup,
    Format.PHISHTANK_XML: parse_phishtank_xml,
}
_CLAMAV_OTHERS = (
    *(".ndb", ".ndu", ".ldb", ".ldu", ".pdb", ".wdb", ".gdb", ".cdb", ".crb", ".db", ".ftm", ".idb", ".cfg"),
    *(".ign", ".ign2", ".imp", ".info", ".yar", ".yara", ".sign", ".cbc", ".pwdb"),
)
_NO_FEED = re.compile(r"(?:\A|/)(?:copying|licen[cs]e|readme|changelog)[^/]*\Z", re.IGNORECASE)


class Reading:
    """One pass over a feed; iterate it once for the entries, then look at the tally.

    Iteration raises FeedRefused, at its beginning or (truncated, damaged) at its end: nothing that came out
    of a refused feed may be used. `formats` counts the formats of the members, one for a feed that is no
    archive; `skipped` names the first members of an archive that were left out, and why.
    """

    def __init__(self, chunks: Iterable[bytes], name: str, form: Format | None, maker: Maker) -> None:
        self.tally = Tally()
        self.formats: Counter[Format] = Counter()
        self.skipped: list[tuple[str, str]] = []
        self._chunks = chunks
        self._name = name
        self._form = form
        self._maker = maker

    @property
    def format(self) -> Format | None:
        """The (most frequent) format that was read; None before anything was."""
        return self.formats.most_common(1)[0][0] if self.formats else None

    def __iter__(self) -> Iterator[Entry]:
        tally = self.tally
        yield from self._entries()
        if tally.rows == 0:
            if self.skipped:
                raise FeedRefused(self.skipped[0][1])
            if self.format in JSON_FORMS:
                raise FeedRefused("JSON without records: neither a list of them nor one a line")
            raise FeedRefused("empty: the feed holds comments and no entries")
        if not any(tally.accepted.values()) and not tally.exceptions:
            raise FeedRefused(tally.nothing(str(self.format)))

    def _entries(self) -> Iterator[Entry]:
        tally = self.tally
        for member, stream in members(self._chunks, self._name):
            if member.lower().endswith(_CLAMAV_OTHERS) or _NO_FEED.search(member):
                self._skip(member, "signatures of another kind, or no feed")
                continue
            head, sample = _sample(stream)
            try:
                refuse_what_is_no_feed(sample)  # whatever format the operator named
                form = self._form or detect(sample, member or self._name)
                tally.begin(member or self._name)
                yield from PARSERS[form](chain(head, stream), self._maker, tally)
            except FeedRefused as refusal:
                if not member or str(refusal).startswith(("truncated", "damaged", "known")):
                    raise
                self._skip(member, str(refusal))
                continue
            self.formats[form] += 1
            tally.check_declared()

    def _skip(self, member: str, reason: str) -> None:
        if len(self.skipped) < MAX_SKIPPED_NAMED:
            self.skipped.append((member, reason))


def _sample(stream: Iterator[bytes]) -> tuple[list[bytes], str]:
    head: list[bytes] = []
    size = 0
    for chunk in stream:
        head.append(chunk)
        size += len(chunk)
        if size >= SAMPLE_CHARS:
            break
    return head, "".join(text_chunks(head))[:SAMPLE_CHARS]


def read(
    chunks: Iterable[bytes],
    *,
    suffixes: Suffixes,
    name_hint: str = "",
    format: str = AUTO,  # noqa: A002 - the command line's word
    known_good: bool = False,
    min_confidence: int | None = None,
) -> Reading:
    """Begin to read a feed; `chunks` may be of any size, compressed, or an archive.

    `format` is `auto` or a value of Format. `known_good`: the feed goes into a list that allows.
    `min_confidence` (0 to 100) is what a format that has a confidence must reach; None: its usual one.
    Raises ValueError for an unknown format.
    """
    if format not in (AUTO, *Format):
        raise ValueError(f"expected a format: {', '.join((AUTO, *Format))}; got {format!r}")
    form = None if format == AUTO else Format(format)
    maker = Maker(suffixes, known_good=known_good, min_confidence=min_confidence)
    return Reading(chunks, name_hint, form, maker)
