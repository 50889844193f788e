"""Recognizing the format of a feed by its content; the file's name is only a hint."""

import re
from collections.abc import Sequence

from secondlook.core.lists.feed_format import Format
from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.entries.maker import ANY_DIGEST
from secondlook.feeds.formats.digests import cells_with_digests
from secondlook.feeds.formats.foreign import refuse_foreign_json, refuse_foreign_lines, refuse_foreign_xml
from secondlook.feeds.formats.header import Header, header_of, unnamed_separator
from secondlook.feeds.formats.plain import COMMENT
from secondlook.feeds.formats.records import begins_with_records, holds_records
from secondlook.feeds.formats.row import generic

SAMPLE_CHARS = 65_536
SAMPLE_LINES = 1_000
MAX_CONTROL_SHARE = 0.02
MAX_CONTROLS = 8  # of a short sample
MIN_DIGEST_SHARE = 0.3

_HTML = re.compile(
    r"\s*+(?:<!--.*?-->\s*+)*+(?:<!doctype\s+html|<html|<head|<body|<script|<title)",
    re.IGNORECASE | re.DOTALL,
)
_XML = re.compile(
    r"\s*+(?:<!--.*?-->\s*+)*+<(?:\?xml|!doctype\s|[a-z][\w.:-]*[\s/>])", re.IGNORECASE | re.DOTALL
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_UNDECODABLE = re.compile(r"[\udc80-\udcff]")
_JSON = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])")
_SIGNATURE = re.compile(r"(?:[0-9a-fA-F]{32,64}:(?:\d+|\*):|(?:\d+|\*):[0-9a-fA-F]{32,64}:)\S", re.ASCII)
_VALUE_DIGESTS = re.compile(r"[0-9a-f]{32},[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_FILE_NAME = re.compile(r"[\w./-]+\.(?:txt|csv|json|adblock|list|hosts|gz|xz|zip|tar)", re.IGNORECASE)
_ZONE_BEGINS = re.compile(
    r"\$(?:TTL|ORIGIN)\s|\S+\s+(?:\d+\w?\s+)?(?:IN\s+)?(?:\d+\w?\s+)?SOA\s", re.IGNORECASE | re.ASCII
)
_ADBLOCK_HEAD = re.compile(r"\[(?!AutoProxy)[A-Za-z][^\]]*\]?")
_QUOTED_ROW = re.compile(r'"[^"]*"(?:, ?"[^"]*")+')


_JSON_KINDS: tuple[tuple[str, Format], ...] = (
    (
        (
            r'"type"\s*:\s*"(?:bundle|indicator)"|"spec_version"\s*:\s*"2'
            r'|"id"\s*:\s*"[a-z-]{3,40}--[0-9a-f]{8}-[0-9a-f-]{27}"'
        ),
        Format.STIX,
    ),
    (r'"ioc_value"|"urlhaus_link"|"url_status"|"phish_id"|"sha256_hash"', Format.RECORDS),
    (r'"Event"\s*:\s*\{|"Attribute"\s*:\s*\[|"to_ids"\s*:', Format.MISP),
    (
        r'\A\s*\{\s*(?:"[a-z_]+"\s*:\s*(?:"(?:[^"\\]|\\.)*"|\d+|\[[^\]]*\])\s*,\s*)*"(?:list|matching_attributes)"\s*:\s*\[',
        Format.WARNINGLIST,
    ),
    (r'"hashlookup:[a-z-]+"', Format.HASHLOOKUP),
    (r'\{\s*"(?:url|host|hostname|domain|ip|indicator|sha256|sha1|md5|hash)"\s*:', Format.RECORDS),
)
JSON_FORMS = frozenset(form for _, form in _JSON_KINDS)
_LINE_KINDS: tuple[tuple[str, Format], ...] = (
    (r"(?:address|local|server)=/", Format.DNSMASQ),
    (r"local-(?:zone|data):", Format.UNBOUND),
    (r'zone\s+"[^"]+"\s*(?:IN\s*)?\{', Format.BIND),
    (r"\S+\s+(?:\d+\s+)?(?:IN\s+)?CNAME\s+\S+", Format.RPZ),
    (r"[-+]d\s+\S", Format.TPL),
    (r"(?:0\.0\.0\.0|127\.0\.0\.\d+|::1?|0)\s+\S", Format.HOSTS),
    (r"(?:@@)?\|\|?|@@", Format.ADBLOCK),
)
_CLAMAV_SUFFIXES = (".hdb", ".hsb", ".hdu", ".hsu", ".fp", ".sfp", ".mdb", ".msb", ".mdu", ".msu")


def detect(sample: str, name: str = "") -> Format:
    """Recognize the format of a feed from its first characters.

    Raises FeedRefused when it is empty, HTML, binary or of a kind that cannot be used.
    """
    refuse_what_is_no_feed(sample)
    if _XML.match(sample):
        refuse_foreign_xml(sample)
        if "<phish_id>" in sample or "<entry>" in sample:
            return Format.PHISHTANK_XML
        raise FeedRefused("XML of no known kind")
    if _JSON.match(sample):
        return _json_kind(sample)
    return _text_kind(sample, name)


def refuse_what_is_no_feed(sample: str) -> None:
    """Refuse what is a feed of no format: nothing at all, a web page, something binary.

    Raises FeedRefused.
    """
    if not sample.strip("\x00 \t\r\n\ufeff"):
        raise FeedRefused("empty: the feed holds nothing")
    if _HTML.match(sample):
        raise FeedRefused("HTML: a web page came instead of a feed")
    controls, undecodable = len(_CONTROL.findall(sample)), len(_UNDECODABLE.findall(sample))
    if controls > max(MAX_CONTROLS, MAX_CONTROL_SHARE * len(sample)) or undecodable > len(sample) / 4:
        raise FeedRefused("binary: the feed is no text and no known container")


def _json_kind(sample: str) -> Format:
    if re.match(r'\s*\{\s*"[0-9a-f-]{36}"\s*:\s*\{', sample) and '"timestamp"' in sample:
        raise FeedRefused("a MISP manifest names events and holds none; import the event files")
    refuse_foreign_json(sample)
    for pattern, form in _JSON_KINDS:
        if re.search(pattern, sample):
            return form
    if begins_with_records(sample) or holds_records(sample):
        return Format.RECORDS
    raise FeedRefused("JSON of no known kind")


def _text_kind(sample: str, name: str) -> Format:
    lines = [line.strip() for line in re.split(r"[\r\n]+", sample)[:SAMPLE_LINES]]
    data = [line for line in lines if line and not COMMENT.match(line)]
    comments = [line for line in lines if line and COMMENT.match(line)]
    refuse_foreign_lines(lines)
    header = _header(lines, data)
    if header is not None and header.reader is not generic:
        return Format.TABLE
    if name.lower().endswith(_CLAMAV_SUFFIXES) or _share(data, _SIGNATURE.match) > 0.5:  # noqa: PLR2004
        return Format.CLAMAV
    _refuse_indexes(data)
    if data and _ZONE_BEGINS.match(data[0]):
        return Format.RPZ  # a short zone is mostly its own beginning
    form = _digest_kind(data, sample)
    if form is not None:
        return form
    if header is None and _ADBLOCK_HEAD.match(lines[0].removeprefix("\ufeff")):
        return Format.ADBLOCK
    for pattern, kind in _LINE_KINDS:
        if _share(data, re.compile(pattern).match) > 0.3:  # noqa: PLR2004
            return kind
    if _share(comments, re.compile("!").match) > 0.5:  # noqa: PLR2004
        return Format.ADBLOCK
    if (
        header is not None
        or _share(data, _QUOTED_ROW.fullmatch) > 0.5  # noqa: PLR2004
        or unnamed_separator(data) is not None
    ):
        return Format.TABLE
    return Format.PLAIN


def _refuse_indexes(data: Sequence[str]) -> None:
    if _share(data, _VALUE_DIGESTS.fullmatch) > 0.5:  # noqa: PLR2004
        raise FeedRefused(
            "a MISP hashes.csv holds digests of indicators, not of files; import the event files"
        )
    if data and all(map(_FILE_NAME.fullmatch, data)):
        raise FeedRefused("a manifest names the files of a feed and holds none of its entries")


def _share(lines: Sequence[str], test: object) -> float:
    assert callable(test)
    return sum(1 for line in lines if test(line)) / len(lines) if lines else 0.0


def _header(lines: Sequence[str], data: Sequence[str]) -> Header | None:
    """Find the names of a table's columns: in any comment those of a known kind, else where data begin.

    What names columns of use in a comment must stand right above the first row, and name its cells.
    """
    above = ""
    for line in lines:
        if not line or not COMMENT.match(line):
            if line:
                break
            continue
        above = line
    first = header_of(data[0]) if data else None
    headers = [found for line in lines if COMMENT.match(line) and (found := header_of(line)) is not None]
    for found in (*headers, *filter(None, [first])):
        if found.reader is not generic:
            return found
    if first is not None:
        return first
    last = header_of(above)
    return last if last is not None and data and last.names_cells_of(data[0]) else None


def _digest_kind(data: Sequence[str], sample: str) -> Format | None:
    if _share(data, cells_with_digests) < MIN_DIGEST_SHARE:
        return None
    if "INSERT INTO" in sample.upper() or '"SHA-1","MD5","CRC32"' in sample:
        return Format.NSRL
    return Format.PLAIN if all(ANY_DIGEST.fullmatch(line) for line in data) else Format.DIGESTS
