"""Lists of one thing a line: hosts, addresses, ranges, URLs, digests; and hosts files.

Lines of hosts files and rules of filter lists say what they mean wherever they stand. A comment begins a line
with `#`, `!`, `;` or `//`, or follows a blank and `#`. `*.host` means the host with its subdomains, as every
entry does. An address may be followed by a count (IPsum).
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from secondlook.core.url.address import bracketed, network_in
from secondlook.feeds.entries.entry import Entry, RejectClass
from secondlook.feeds.entries.maker import ANY_DIGEST, CLEAN_HOST, QUAD, WEB_URL, Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.foreign import refuse_foreign_line
from secondlook.feeds.formats.rule import is_rule, read_rule
from secondlook.feeds.unpacking.text import TOO_LONG_MARK, batches

MAX_RANGE = 256  # a range is spelled out, address by address, up to this size

COMMENT = re.compile(r"[#!;]|//(?![\w-]+(?:\.[\w-]+)+(?:[/:?]|\Z))|\[(?![0-9A-Fa-f:.]*\])")
INLINE_COMMENT = re.compile(r"(?<!\s)\s++(?:(?:#|//|;)(?:\s.*|\Z)|#.*)", re.DOTALL)
_DECLARED = re.compile(
    r'[#!;]+\s*"?(?:number of (?:entries|domains)|entries|domains)\s*:\s*([0-9][0-9,. ]*+)"?\s*+\Z',
    re.IGNORECASE,
)
_ADDRESS_AND_COUNT = re.compile(r"([0-9A-Fa-f:.]+)[\s,]+[0-9]+", re.ASCII)
_ADDRESS_AND_NAMES = re.compile(r"([0-9a-fA-F:.%lo]+)\s+([^\s#]*[^\s#0-9.][^#]*)(?:#.*)?", re.ASCII)
_DATE_OR_MARK = re.compile(r"[0-9/.:-]+|\W+")
_END_OF_PATH = re.compile(r".*(?:/|@|\.[A-Za-z0-9]{2,5}\Z)")
_ADDRESSES_FROM_TO = re.compile(r"[0-9.]+\s*-\s*[0-9.]+", re.ASCII)
_SINK = re.compile(
    r"0|0\.0\.0\.0|127(?:\.[0-9]{1,3}){3}|::1?|0:0:0:0:0:0:0:[01]|fe80::1%lo0|ff0[0-2]::\w*|255\.255\.255\.255"
)


def note_comment(line: str, tally: Tally) -> None:
    """Count a comment, and keep the number of entries that it may declare."""
    tally.comments += 1
    found = _DECLARED.match(line)
    if found is not None:
        digits = re.sub(r"[^0-9]", "", found[1])
        tally.declared = int(digits[:15])


def holds_nothing(number: int, line: str, tally: Tally) -> bool:
    """Count a line that is blank, or was too long to be kept; return whether it is one of these."""
    if line == TOO_LONG_MARK:
        tally.rows += 1
        tally.reject(number, RejectClass.TOO_LONG, "")
    elif not line.strip():
        tally.blanks += 1
    else:
        return False
    return True


def parse_plain(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a list with one host, address, range, URL or digest a line."""
    clean, web, quad = CLEAN_HOST.fullmatch, WEB_URL.fullmatch, QUAD.fullmatch
    name, address, url, settle = maker.name, maker.quad, maker.url, tally.settle
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            if clean(line):
                made = name(line)
            elif quad(line):
                made = address(line)
            elif web(line):
                made = url(line)
            else:
                yield from _other(number, line, maker, tally)
                continue
            tally.rows += 1
            entry = settle(number, made, line)
            if entry is not None:
                yield entry


def _other(number: int, line: str, maker: Maker, tally: Tally) -> Iterator[Entry]:
    if holds_nothing(number, line, tally):
        return
    text = line.strip()
    if COMMENT.match(text):
        note_comment(text, tally)
    elif is_rule(text):
        tally.rows += 1
        yield from tally.settled(number, read_rule(text, maker, tally), text)
    elif (pair := _ADDRESS_AND_NAMES.fullmatch(text)) is not None and is_sink(pair[1]):
        yield from _names(number, pair[2].split(), text, maker, tally)
    else:
        refuse_foreign_line(text)
        tally.rows += 1
        yield from one(number, text, maker, tally)


def one(number: int, text: str, maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read one data line: an indicator, a range or a digest, perhaps with a comment behind it."""
    if " " in text or "\t" in text:
        text = INLINE_COMMENT.sub("", text)
        counted = _ADDRESS_AND_COUNT.fullmatch(text)
        if counted is not None:
            text = counted[1]
        if not _is_one(text):
            tally.reject(number, RejectClass.NOT_UNDERSTOOD, text)
            return
    if ANY_DIGEST.fullmatch(text):
        made = maker.digest(text)
    elif (network := network_in(text)) is not None:
        yield from spell_out(number, network, maker, tally)
        return
    elif _ADDRESSES_FROM_TO.fullmatch(text):
        made = RejectClass.WIDE_RANGE
    else:
        made = maker.indicator(text.removeprefix("*."))
    yield from tally.settled(number, made, text)


def _is_one(text: str) -> bool:
    """Return whether a text is one thing: blanks may be part of a URL's path, or part a URL from a remark."""
    url, tab, _ = text.partition("\t")
    start, blank, rest = url.partition(" ")
    _, scheme, target = start.partition("://")
    if not scheme or "#" in target or not (blank or tab):
        return True
    segment = target.partition("/")[2].rpartition("/")[2]
    words = rest.split(" ")
    return (
        not tab
        and segment != ""
        and "." not in segment
        and "://" not in rest
        and not any(_DATE_OR_MARK.fullmatch(word) or not word for word in words)
        and _END_OF_PATH.match(words[-1]) is not None
    )


def spell_out(number: int, text: str, maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Return every address of a small range; a wide one is rejected."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        tally.reject(number, RejectClass.BAD_ADDRESS, text)
        return
    if network.num_addresses > MAX_RANGE:
        tally.reject(number, RejectClass.WIDE_RANGE, text)
        return
    refused: set[RejectClass] = set()  # one line is one reject of a class, however many addresses it has
    for address in network:
        made = maker.host(bracketed(str(address)))
        if isinstance(made, RejectClass):
            if made in refused:
                continue
            refused.add(made)
        yield from tally.settled(number, made, text)


def is_sink(text: str) -> bool:
    """Return whether an address leads nowhere or to this machine, as block lists use it."""
    return _SINK.fullmatch(text) is not None


def parse_hosts(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a hosts file: lines that send one or more names to this machine or nowhere."""
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            yield from hosts_line(number, line, maker, tally)


def hosts_line(number: int, line: str, maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read one line of a hosts file."""
    words = line.partition("#")[0].split()
    if len(words) < 2 or line == TOO_LONG_MARK:  # noqa: PLR2004
        yield from _other(number, line, maker, tally)
        return
    if not is_sink(words[0]):
        tally.rows += 1
        tally.reject(number, RejectClass.NOT_A_BLOCK, line)
        return
    yield from _names(number, words[1:], line, maker, tally)


def _names(number: int, names: Iterable[str], line: str, maker: Maker, tally: Tally) -> Iterator[Entry]:
    for name in names:
        tally.rows += 1
        yield from tally.settled(number, maker.host(name.rstrip(".")), line)
