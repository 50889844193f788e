"""STIX 2.0 and 2.1 bundles and TAXII envelopes: the indicators' patterns, where they have an exact form here.

A pattern is taken when it is one comparison, or several joined by OR, each `=` or IN a list. AND asks for
more than we look at, so a pattern with it is rejected, unless it joins digests of one file, each of another
kind, side by side in one observation: AND binds more closely than OR, and the strongest stands for all.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from secondlook.core.url.address import network_in
from secondlook.feeds.entries.entry import Entry, FeedRefused, RejectClass
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.objects import objects
from secondlook.feeds.formats.plain import spell_out
from secondlook.feeds.formats.row import instant
from secondlook.feeds.unpacking.text import text_chunks

MAX_PATTERN_CHARS = 1_000_000
MAX_INDICATORS = 2_000_000
_CLOSING = {"]": "[", ")": "("}

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<path>[a-zA-Z0-9-]+:[\w.*'"\[\]-]+?(?=\s*(?:=|!=|<|>|\bIN\b|\bNOT\b|\bLIKE\b|\bMATCHES\b|\bISSUBSET\b|\bISSUPERSET\b)))"""
    r"""|(?P<word>[A-Za-z]+)|(?P<mark>!=|<=|>=|[=<>()\[\],])|(?P<other>\S))""",
    re.DOTALL,
)
_WEB_PATHS = frozenset(
    ("url:value", "domain-name:value", "ipv4-addr:value", "ipv6-addr:value", "hostname:value")
)
_DIGEST_PATH = re.compile(r"file:hashes\.['\"]?(sha-?256|sha-?1|md5)['\"]?", re.IGNORECASE)

_STRONGEST_FIRST = ("sha256", "sha1", "md5")

type Comparison = tuple[str, str]  # the object path, the value
type _Together = list[tuple[str, list[str]]]  # comparisons joined by AND: the object path, the values


class _Version(NamedTuple):
    """One version of an indicator, as far as it matters here."""

    line: int
    at: float  # when it was modified
    pattern: str
    refusal: RejectClass | None
    seen: float | None
    until: float | None


def parse_stix(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a bundle or an envelope; objects other than indicators are passed over.

    Of an indicator that comes in several versions the newest counts, wherever it stands, so entries come at
    the end. Raises FeedRefused when there are more indicators than can be held until then.
    """
    for version in _newest(chunks, maker, tally):
        compared = version.refusal or comparisons(version.pattern)
        if isinstance(compared, RejectClass):
            tally.reject(version.line, compared, version.pattern)
            continue
        for path, value in compared:
            for entry in _entries(version.line, path, value, maker, tally):
                yield entry._replace(first_seen=version.seen, valid_from=version.seen, expires=version.until)


def _newest(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterable[_Version]:
    """Read all indicators; returns the newest version of each, the others are rejected."""
    newest: dict[str, _Version] = {}
    for found in objects(text_chunks(chunks)):
        record = found.value
        if record is None and found.text:
            tally.rows += 1
            tally.reject(found.line, RejectClass.NOT_UNDERSTOOD, found.text)
        if not isinstance(record, dict) or record.get("type") != "indicator":
            tally.comments += 1
            continue
        tally.rows += 1
        version = _version(found.line, record, maker)
        identity = str(record.get("id", ""))
        before = newest.get(identity)
        if not identity or (before is not None and before.at == version.at):
            identity, before = f"row {tally.rows}", None  # another indicator, whatever it calls itself
        if before is not None:
            before, version = sorted((before, version), key=lambda each: each.at)
            tally.reject(before.line, RejectClass.INACTIVE, before.pattern)
        newest[identity] = version
        if len(newest) > MAX_INDICATORS:
            raise FeedRefused(f"too large: more than {MAX_INDICATORS} indicators")
    return newest.values()


def _version(line: int, record: Mapping[str, Any], maker: Maker) -> _Version:
    times = (
        instant(str(record.get(key, ""))) for key in ("modified", "created", "valid_from", "valid_until")
    )
    modified, created, seen, until = times
    return _Version(
        line, modified or created or 0.0, str(record.get("pattern", "")), _refusal(record, maker), seen, until
    )


def _refusal(record: Mapping[str, Any], maker: Maker) -> RejectClass | None:
    if record.get("revoked") is True:
        return RejectClass.INACTIVE
    if record.get("pattern_type", "stix") != "stix":
        return RejectClass.OTHER_TYPE
    labels = record.get("indicator_types") or record.get("labels") or ()
    if isinstance(labels, list) and {"benign"} & {str(label) for label in labels}:
        return RejectClass.NOT_FOR_DETECTION
    confidence = record.get("confidence")  # STIX 2.1: 0 to 100, left out where nothing is known
    if isinstance(confidence, int) and maker.is_unsure(confidence, 0):
        return RejectClass.LOW_CONFIDENCE
    return None


def _entries(line: int, path: str, value: str, maker: Maker, tally: Tally) -> Iterator[Entry]:
    digest = _DIGEST_PATH.fullmatch(path)
    if digest is not None:
        made = maker.digest(value)
    elif path in {"ipv4-addr:value", "ipv6-addr:value"} and (network := network_in(value)) is not None:
        yield from spell_out(line, network, maker, tally)
        return
    elif path in _WEB_PATHS:
        made = maker.indicator(f"[{value}]" if path.startswith("ipv6") else value)
    else:
        made = RejectClass.OTHER_TYPE
    yield from tally.settled(line, made, value)


def comparisons(pattern: str) -> list[Comparison] | RejectClass:
    """Take a pattern apart; return a reject class when it demands more, or less, than equality."""
    tokens = _tokens(pattern)
    if tokens is None or not _is_whole(tokens):
        return RejectClass.NOT_UNDERSTOOD
    either: list[_Together] = []
    index, ended, joins = 0, -1, False
    while index < len(tokens):
        kind, text = tokens[index]
        if (kind == "mark" and text in "[]()") or (kind == "word" and text.upper() == "OR"):
            index += 1
        elif kind == "word" and text.upper() == "AND":
            joins = index == ended and [kind for kind, _ in tokens[index + 1 : index + 2]] == ["path"]
            if not joins:  # of whole observations, or of choices
                return RejectClass.MODIFIER
            index += 1
        elif kind == "path":
            read = _comparison(text, tokens, index + 1)
            if isinstance(read, RejectClass):
                return read
            index, values = read
            if not joins:
                either.append([])
            either[-1].append((text, values))
            ended, joins = index, False
        else:
            return RejectClass.NOT_UNDERSTOOD
    return _said(either)


def _tokens(pattern: str) -> list[tuple[str, str]] | None:
    pattern = pattern.strip()
    if len(pattern) > MAX_PATTERN_CHARS:
        return None
    tokens: list[tuple[str, str]] = []
    for found in _TOKEN.finditer(pattern):
        if found.lastgroup == "other":  # what follows need not be looked at: it may take long
            return None
        tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
    return tokens


def _is_whole(tokens: Sequence[tuple[str, str]]) -> bool:
    """Return whether everything that is opened is closed: what was cut off might have been narrower."""
    opened: list[str] = []
    for kind, text in tokens:
        if kind == "mark" and text in "[(":
            opened.append(text)
        elif kind == "mark" and text in _CLOSING and (not opened or opened.pop() != _CLOSING[text]):
            return False
    return not opened


def _comparison(path: str, tokens: list[tuple[str, str]], index: int) -> tuple[int, list[str]] | RejectClass:
    del path
    if index >= len(tokens):
        return RejectClass.NOT_UNDERSTOOD
    kind, text = tokens[index]
    if kind == "mark" and text == "=" and index + 1 < len(tokens) and tokens[index + 1][0] == "string":
        return index + 2, [_unquoted(tokens[index + 1][1])]
    if kind == "word" and text.upper() == "IN" and tokens[index + 1 : index + 2] == [("mark", "(")]:
        values: list[str] = []
        index += 2
        while index < len(tokens) and tokens[index] != ("mark", ")"):
            if tokens[index][0] == "string":
                values.append(_unquoted(tokens[index][1]))
            elif tokens[index] != ("mark", ","):
                return RejectClass.NOT_UNDERSTOOD
            index += 1
        return index + 1, values
    return RejectClass.PATTERN


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _said(either: Sequence[_Together]) -> list[Comparison] | RejectClass:
    """Return what is named by comparisons, of which any of the groups must hold."""
    found: list[Comparison] = []
    for together in either:
        if len(together) > 1:
            strongest = _strongest(together)
            if isinstance(strongest, RejectClass):
                return strongest
            found.append(strongest)
        else:
            found += [(path, value) for path, values in together for value in values]
    return found or RejectClass.NOT_UNDERSTOOD


def _strongest(together: _Together) -> Comparison | RejectClass:
    """Of digests that one file must all have, one of each kind, take the strongest."""
    by_kind: dict[str, Comparison] = {}
    for path, values in together:
        digest = _DIGEST_PATH.fullmatch(path)
        kind = digest[1].lower().replace("-", "") if digest else ""
        if not kind or kind in by_kind or len(values) != 1:
            return RejectClass.MODIFIER
        by_kind[kind] = (path, values[0])
    return next(by_kind[kind] for kind in _STRONGEST_FIRST if kind in by_kind)
