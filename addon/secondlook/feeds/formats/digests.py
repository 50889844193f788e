"""Digests of files: in any column or in prose, ClamAV's hash signatures, NSRL's SQL text."""

import re
from collections.abc import Iterable, Iterator

from secondlook.core.verdict import Threat
from secondlook.feeds.entries.entry import Entry, FeedRefused, RejectClass
from secondlook.feeds.entries.maker import Maker, refang
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.plain import note_comment
from secondlook.feeds.unpacking.text import TOO_LONG_MARK, batches

_WORD = re.compile(r"""[^\s,;|"'`<>()\[\]{}]+""")
# a digest that belongs to another name (`session=…`, `/a/…`) means something else
_CELL = re.compile(
    r"\*?(?:(?:md5|sha-?1|sha-?256|hash)[=:])?([0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})[:.]?",
    re.ASCII | re.IGNORECASE,
)
_URL = re.compile(r"""(?<!\w)\w++://[^\s",]*""")
_WITH_REMARK = re.compile(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32})\s*;", re.ASCII)
_COMMENT = re.compile(r"#|//|!(?!\w)")
_SIGNATURE = re.compile(r"([0-9a-fA-F]+):(\d+|\*):([^:]*)(?::(\d*)(?::\d*)?)?", re.ASCII)
_SECTION = re.compile(r"(?:\d+|\*):[0-9a-fA-F]{32,64}:", re.ASCII)
_EXCEPTION_SUFFIXES = (".fp", ".sfp")


def cells_with_digests(text: str) -> list[str]:
    """List the strongest kind of digest that a text holds as whole words.

    Several kinds on a line are as a rule those of one file, and the weaker ones cost speed at every download.
    """
    remarked = _WITH_REMARK.match(text)
    if remarked is not None:
        return [remarked[1]]  # `digest;remark`
    if "://" in text:
        text = _URL.sub("", text)
    found = [cell[1] for word in _WORD.findall(text) if (cell := _CELL.fullmatch(word)) is not None]
    longest = max(map(len, found), default=0)
    return [cell for cell in found if len(cell) == longest]


def parse_digests(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read digests wherever they stand; a line without one counts if it holds a defanged host or URL."""
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            text = line.strip()
            if not text:
                tally.blanks += 1
                continue
            if _COMMENT.match(text):
                note_comment(text, tally)
                continue
            tally.rows += 1
            if line == TOO_LONG_MARK:
                tally.reject(number, RejectClass.TOO_LONG, "")
                continue
            digests = cells_with_digests(text)
            for digest in digests:
                yield from tally.settled(number, maker.digest(digest), text)
            if not digests:
                made = maker.indicator(text) if refang(text) != text else RejectClass.NOT_UNDERSTOOD
                yield from tally.settled(number, made, text)


def parse_clamav(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read ClamAV hash signatures `digest:size:name[:level]`; in `.fp` and `.sfp` files they except.

    `size:digest:name` is the digest of a section of a program, of no use for whole files.
    """
    exception = tally.member.lower().endswith(_EXCEPTION_SUFFIXES)
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            text = line.strip()
            if not text:
                tally.blanks += 1
                continue
            if text[0] == "#":
                note_comment(text, tally)
                continue
            tally.rows += 1
            found = _SIGNATURE.fullmatch(text)
            made: Entry | RejectClass
            if found is not None and len(found[1]) >= 32:  # noqa: PLR2004
                size = None if found[2] == "*" else int(found[2][:15])
                made = maker.digest(found[1], exception=exception, size=size)
            elif _SECTION.match(text):
                made = RejectClass.PART_OF_FILE
            else:
                made = RejectClass.TOO_LONG if line == TOO_LONG_MARK else RejectClass.NOT_UNDERSTOOD
            entry = tally.settle(number, made, text)
            if entry is not None and found is not None:
                threat = Threat.UNWANTED_SOFTWARE if found[3].startswith("PUA.") else None
                yield entry._replace(family=found[3][:200] or None, threat=threat)


def parse_nsrl(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read the rows that NSRL's SQL or CSV text inserts, the SHA-256 of each.

    Raises FeedRefused where the list is one that blocks: these files are known, and most of them are good.
    """
    if not maker.known_good:
        raise FeedRefused("known files: an NSRL list can only be imported into a list of known-good files")
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            text = line.strip()
            if not text:
                tally.blanks += 1
                continue
            digests = cells_with_digests(text)
            if not digests:
                tally.comments += 1
                continue
            tally.rows += 1
            yield from tally.settled(number, maker.digest(digests[0]), text)
