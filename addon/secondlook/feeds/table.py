"""Tables parted by commas, tabs, semicolons or bars: abuse.ch, PhishTank, MISP, Splunk, Zeek, and any other.

Columns are found by the header's names, even where it stands in a comment, else by their count, as columns
were added over the years. Without either, the first cell is what a row is about, if it is a URL and no other
cell is one. A row is one line: a stray quote spoils one row, not the rest of the file.
"""

import csv
import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from secondlook.core.verdict import Threat
from secondlook.feeds.digests import cells_with_digests
from secondlook.feeds.entry import Entry, RejectClass
from secondlook.feeds.maker import Maker
from secondlook.feeds.plain import RANGE, note_comment
from secondlook.feeds.qualifier import disqualified, told_against
from secondlook.feeds.tally import Tally
from secondlook.feeds.text import TOO_LONG_MARK, Batch, batches

MIN_CONFIDENCE = 50
THREATFOX_LIFE_S = 180 * 86_400.0

type Row = Mapping[str, str]
type RowReader = Callable[[Row, Maker], Entry | RejectClass]

_NOTHING = frozenset(("", "n/a", "none", "null", "-"))
# no data: no dots (but for those of Zeek), no numbers
_COLUMN_NAME = re.compile(r"(?:[a-z][a-z _()#%-]*(?:256|5|1)?[a-z _-]*|meta\.[a-z_]+)?")
_URL_CELL = re.compile(r"\s*(?:https?|hxxps?|ftp)://", re.IGNORECASE)

_COUNTED: dict[int, tuple[str, ...]] = {
    8: ("id", "dateadded", "url", "url_status", "threat", "tags", "urlhaus_link", "reporter"),
    9: ("id", "dateadded", "url", "url_status", "last_online", "threat", "tags", "urlhaus_link", "reporter"),
    14: (
        *(
            "first_seen_utc",
            "sha256_hash",
            "md5_hash",
            "sha1_hash",
            "reporter",
            "file_name",
            "file_type_guess",
        ),
        *("mime_type", "signature", "clamav", "vtpercent", "imphash", "ssdeep", "tlsh"),
    ),
    15: (
        *("first_seen_utc", "ioc_id", "ioc_value", "ioc_type", "threat_type", "fk_malware", "malware_alias"),
        *("malware_printable", "last_seen_utc", "confidence_level", "is_compromised", "reference", "tags"),
        *("anonymous", "reporter"),
    ),
}
_THREATFOX_OLD = tuple(name for name in _COUNTED[15] if name != "is_compromised")
_DIGEST_COLUMNS = (
    "sha256",
    "sha256_hash",
    "sha-256",
    "sha1",
    "sha1_hash",
    "sha-1",
    "md5",
    "md5_hash",
    "hash",
)
_URL_COLUMNS = ("url", "urls", "uri", "link")
_HOST_COLUMNS = ("domain", "host", "hostname", "fqdn", "ip", "ip_address", "address", "dst_ip")
_ANY_COLUMNS = ("indicator", "ioc", "ioc_value", "value", "data", "observable", "entry")
_TYPE_COLUMNS = ("type", "ioc_type", "ioc type", "indicator_type", "indicator type", "indicatortype")
KNOWN_COLUMNS = frozenset((*_DIGEST_COLUMNS, *_URL_COLUMNS, *_HOST_COLUMNS, *_ANY_COLUMNS))
_SEPARATORS = (",", "\t", ";", "|")
_ZEEK_MARK = "#fields\t"
_MIN_UNNAMED_SHARE = 0.9
_OF_A_COLUMN = re.compile(  # and not of the rest of a URL: a date, several words, something quoted
    r"\s*(?:\"?[0-9]{4}-[0-9]{2}-[0-9]{2}\b.*|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4}|\".*\"|\S+\s.*)\s*",
    re.ASCII,
)
_WORD = re.compile(r"\s*[A-Za-z_-]{3,}\s*", re.ASCII)


_VALUES = frozenset(_ANY_COLUMNS)
_TYPES = frozenset(_TYPE_COLUMNS)
_NO_LETTERS = re.compile(r"[^a-z0-9]")
_MAX_DIGEST_CHARS = 64
_LOOKED_AT = 1_000
# the types of indicators as tables write them, without what parts their words
_WEB_TYPES = frozenset(
    (
        *("domain", "domainname", "hostname", "host", "fqdn", "url", "uri", "ip", "ipv4", "ipv6", "ipdst"),
        *("ipaddress", "ipv4addr", "ipv6addr", "address", "addr", "ipport", "ipdstport", "dstip"),
    )
)
_DIGEST_TYPES = frozenset(
    f"{before}{kind}{after}"
    for kind in ("md5", "sha1", "sha256", "hash")
    for before in ("", "file", "filehash")
    for after in ("", "hash")
)
_OTHER_TYPES = frozenset(
    (
        *(
            "email",
            "emailaddress",
            "emailaddr",
            "emailsrc",
            "emaildst",
            "filename",
            "file",
            "filepath",
            "path",
        ),
        *(
            "mutex",
            "registry",
            "regkey",
            "registrykey",
            "useragent",
            "software",
            "username",
            "user",
            "account",
        ),
        *(
            "cve",
            "vulnerability",
            "asn",
            "btc",
            "wallet",
            "yara",
            "ssdeep",
            "tlsh",
            "imphash",
            "pehash",
            "ja3",
        ),
        *(
            "certhash",
            "pubkeyhash",
            "certificate",
            "fingerprint",
            "sha224",
            "sha384",
            "sha512",
            "ipsrc",
            "cidr",
        ),
        *(
            "subnet",
            "network",
            "ipv4cidr",
            "ipv6cidr",
            "port",
            "process",
            "processname",
            "command",
            "description",
        ),
        *("text", "comment", "string", "pattern", "regex", "uripath", "phone", "phonenumber", "service"),
    )
)


class Header(NamedTuple):
    """The columns of a table, how they are parted, and how its rows are read."""

    names: tuple[str, ...]
    reader: "RowReader"
    separator: str

    def names_cells_of(self, line: str) -> bool:
        """Tell whether a row has as many cells as there are names."""
        return len(_cells(line, self.separator)) == len(self.names)


def header_of(line: str) -> Header | None:
    """Read a line, commented out or not, as a header; None when it names no column of use, or only one."""
    text = line.removeprefix(_ZEEK_MARK) if line.startswith(_ZEEK_MARK) else line.lstrip("#;! \t\ufeff")
    for separator in _SEPARATORS:
        if separator not in text:
            continue
        names = tuple(cell.strip().strip("\"'").lower() for cell in _cells(text, separator))
        reader = reader_of(names) if len(names) > 1 else None
        if reader is not None:
            return Header(names, reader, separator)
    return None


def unnamed_separator(lines: Sequence[str]) -> str | None:
    """Tell what parts the cells of rows that begin with a URL, without a known header; None: nothing does.

    A URL may hold all these characters, so nearly all rows must have the same number of cells, and some as
    no URL ends.
    """
    for separator in _SEPARATORS:
        rows = [line.split(separator) for line in lines if separator in line and _URL_CELL.match(line)]
        sizes = Counter(map(len, rows))
        size, alike = sizes.most_common(1)[0] if sizes else (0, 0)
        if alike < _MIN_UNNAMED_SHARE * (len(lines) - 1) or (len(lines) == 1 and not alike):
            continue
        others = [cell for row in rows if len(row) == size for cell in row[1:]]
        marked = sum(1 for cell in others if _OF_A_COLUMN.fullmatch(cell))
        words = sum(1 for cell in others if _WORD.fullmatch(cell)) if alike > 1 else 0
        if (marked + words) * 2 >= alike:
            return separator
    return None


def parse_table(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a table of any known kind."""
    table = _Table(maker, tally)
    for first, lines in _gathered(batches(chunks)):
        if first == 1:
            table.look_at(lines)
        for number, line in enumerate(lines, first):
            text = line.strip(" \r\n\ufeff")
            if not text or text.isspace():
                tally.blanks += 1
            elif text[0] == "#" or not table.has_begun:
                if not table.is_header(text):
                    yield from _settled(number, table.begin(text), text, tally)
            elif line == TOO_LONG_MARK:
                tally.rows += 1
                tally.reject(number, RejectClass.TOO_LONG, "")
            else:
                made = table.row(text)
                if isinstance(made, list):
                    yield from _settled(number, made, text, tally)
                    continue
                tally.rows += 1
                entry = tally.settle(number, made, text)
                if entry is not None:
                    yield entry


def _settled(number: int, made: Iterable[Entry | RejectClass], text: str, tally: Tally) -> Iterator[Entry]:
    for each in made:
        tally.rows += 1
        entry = tally.settle(number, each, text)
        if entry is not None:
            yield entry


def _gathered(pieces: Iterator[Batch]) -> Iterator[Batch]:
    """Put the first lines of a file together, however it comes in pieces."""
    lines: list[str] = []
    for _, more in pieces:
        lines += more
        if len(lines) >= _LOOKED_AT:
            break
    if lines:
        yield 1, lines
    yield from pieces


class _Table:
    """The reading of one table: its columns, once they are known."""

    def __init__(self, maker: Maker, tally: Tally) -> None:
        self._maker = maker
        self._tally = tally
        self._header: Header | None = None
        self._above: Header | None = (
            None  # named by the last comment: of use if it names the first row's cells
        )
        self.has_begun = False
        self._unnamed: str | None = None
        self._spreads = False  # a cell may hold several digests

    def look_at(self, lines: Sequence[str]) -> None:
        """Look at the first lines, for what parts the cells of rows without a header."""
        data = [line for line in lines[:_LOOKED_AT] if line.strip() and line.lstrip()[0] != "#"]
        self._unnamed = unnamed_separator(data)

    def is_header(self, text: str) -> bool:
        """Take the column names from a header, in a comment or not; tells whether a line is either."""
        comment = text[0] == "#"
        if comment:
            note_comment(text, self._tally)
        if self._header is not None or self.has_begun:
            return comment
        header = header_of(text)
        if comment and (header is None or header.reader is GENERIC):
            self._above = header
            return True
        if header is None:
            return False
        self._header = header
        self._tally.comments += not comment
        return True

    def begin(self, text: str) -> list[Entry | RejectClass]:
        """Read the first row, by which the columns are known where no header told them."""
        self.has_begun = True
        if self._header is None and self._above is not None and self._above.names_cells_of(text):
            self._header = self._above
        if self._header is None:
            separator = self._unnamed or ","
            names, reader = _by_count(_cells(text, separator))
            if names or self._unnamed is None:
                self._header = Header(names, reader, separator)
        self._spreads = self._header is not None and self._header.reader in {_generic, _typed}
        made = RejectClass.TOO_LONG if text == TOO_LONG_MARK else self.row(text)
        return made if isinstance(made, list) else [made]

    def row(self, text: str) -> Entry | RejectClass | list[Entry | RejectClass]:
        """Read one row; a row that fits no column gives its one URL, if it has exactly one."""
        if self._header is None:
            return _leading(_cells(text, self._unnamed or ","), self._maker)
        names, reader, separator = self._header
        cells = _cells(text, separator)
        made: Entry | RejectClass = RejectClass.NOT_UNDERSTOOD
        if names and len(names) <= len(cells):
            row = dict(zip(names, cells, strict=False))
            if self._spreads and len(rows := _spread(row)) > 1:
                return [reader(each, self._maker) for each in rows]
            made = reader(row, self._maker)
        return self._only_url(cells) if made is RejectClass.NOT_UNDERSTOOD else made

    def _only_url(self, cells: Sequence[str]) -> Entry | RejectClass:
        urls = [cell for cell in cells if _URL_CELL.match(cell)]
        others = [cell for cell in cells if cell.strip() and not cell.strip().isdigit() and cell not in urls]
        if len(urls) == 1 and not others:
            return self._maker.indicator(urls[0])
        return RejectClass.NOT_UNDERSTOOD


def _leading(cells: Sequence[str], maker: Maker) -> Entry | RejectClass:
    """Read a row without column names: its first cell, where that alone is a URL and none speaks against."""
    if not cells or not _URL_CELL.match(cells[0]) or any(map(_URL_CELL.match, cells[1:])):
        return RejectClass.NOT_UNDERSTOOD
    against = told_against(cells[1:], known_good=maker.known_good)
    return against or maker.indicator(cells[0].strip())


def _spread(row: Row) -> list[Row]:
    """Give a row once for each of several digests in one cell."""
    for name, cell in row.items():
        if len(cell) > _MAX_DIGEST_CHARS and name in KNOWN_COLUMNS:
            digests = cells_with_digests(cell)
            if len(digests) > 1:
                return [{**row, name: digest} for digest in digests]
    return [row]


def _cells(text: str, separator: str) -> list[str]:
    if separator == "," and text[:1] == '"' and text[-1:] == '"' and '""' not in text and "\\" not in text:
        between = '", "' if '", "' in text else '","'
        cells = text[1:-1].split(between)
        if not any('"' in cell for cell in cells):
            return cells
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=separator != "\t"), [])
    except csv.Error:
        return []


def reader_of(names: tuple[str, ...]) -> RowReader | None:
    """Choose how to read the rows of a table with these columns; None when no name is known."""
    have = set(names)
    readers: tuple[tuple[set[str], RowReader], ...] = (
        ({"urlhaus_link", "url"}, _urlhaus),
        ({"ioc_value", "ioc_type"}, _threatfox),
        ({"sha256_hash", "md5_hash"}, _malwarebazaar),
        ({"phish_id", "url"}, _phishtank),
        ({"type", "value", "to_ids"}, _misp),
        ({"host", "path"}, _splunk),
    )
    for needed, reader in readers:
        if needed <= have:
            return reader
    if not all(map(_COLUMN_NAME.fullmatch, names)):
        return None
    if (have & _VALUES and have & _TYPES) or {"indicator", "data"} <= have:
        return _typed
    return _generic if have & KNOWN_COLUMNS else None


def _by_count(cells: list[str]) -> tuple[tuple[str, ...], RowReader]:
    names = _COUNTED.get(len(cells), ())
    if len(cells) == 14 and len(cells[1]) != 64:  # noqa: PLR2004
        names = _THREATFOX_OLD
    return names, reader_of(names) or _generic


def instant(text: str) -> float | None:
    """Read a time as feeds write it (`2026-02-07 04:31:13`, with or without UTC or zone) as Unix seconds."""
    text = text.strip().removesuffix("UTC").strip().replace(" ", "T", 1)
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _filled(row: Row, *names: str) -> str:
    for name in names:
        cell = row.get(name, "").strip()
        if cell.lower() not in _NOTHING:
            return cell
    return ""


def _urlhaus(row: Row, maker: Maker) -> Entry | RejectClass:
    url = _filled(row, "url")
    if not _URL_CELL.match(url):
        return RejectClass.NOT_UNDERSTOOD
    made = maker.indicator(url)
    if isinstance(made, RejectClass):
        return made
    threat = Threat.MALWARE if row.get("threat", "").startswith("malware") else None
    return made._replace(threat=threat, first_seen=instant(row.get("dateadded", "")))


def _malwarebazaar(row: Row, maker: Maker) -> Entry | RejectClass:
    digest = _filled(row, "sha256_hash", "sha1_hash", "md5_hash")
    made = maker.digest(digest) if digest else RejectClass.NOT_UNDERSTOOD
    if isinstance(made, RejectClass):
        return made
    return made._replace(
        threat=Threat.MALWARE,
        family=_filled(row, "signature")[:200] or None,
        first_seen=instant(row.get("first_seen_utc", row.get("first_seen", ""))),
    )


def _threatfox(row: Row, maker: Maker) -> Entry | RejectClass:
    value, kind = _filled(row, "ioc_value"), row.get("ioc_type", "").strip().lower()
    confidence = row.get("confidence_level", "").strip()
    if confidence.isdigit() and maker.is_unsure(int(confidence[:4]), MIN_CONFIDENCE):
        return RejectClass.LOW_CONFIDENCE
    if kind == "url":
        made = maker.indicator(value)
    elif kind in {"domain", "ip:port"}:
        if row.get("is_compromised", "").strip().lower() in {"1", "true", "yes"}:
            return RejectClass.COMPROMISED
        made = maker.indicator(value)
    elif kind.endswith("_hash"):
        made = maker.digest(value)
    else:
        made = RejectClass.OTHER_TYPE if kind else RejectClass.NOT_UNDERSTOOD
    if isinstance(made, RejectClass):
        return made
    seen = instant(row.get("first_seen_utc", row.get("first_seen", "")))
    last = instant(_filled(row, "last_seen_utc", "last_seen")) or seen
    return made._replace(
        threat=Threat.MALWARE,
        family=_filled(row, "malware_printable", "malware")[:200] or None,
        first_seen=seen,
        expires=None if last is None else last + THREATFOX_LIFE_S,
    )


def _phishtank(row: Row, maker: Maker) -> Entry | RejectClass:
    url = html.unescape(_filled(row, "url"))
    if not url:
        return RejectClass.NOT_UNDERSTOOD
    if row.get("verified", "yes").strip().lower() in {"no", "n"}:
        return RejectClass.NOT_FOR_DETECTION
    if row.get("online", "yes").strip().lower() in {"no", "n"}:
        return RejectClass.INACTIVE
    made = maker.indicator(url)
    if isinstance(made, RejectClass):
        return made
    target = _filled(row, "target")
    return made._replace(
        threat=Threat.SOCIAL_ENGINEERING,
        family=target[:200] if target and target != "Other" else None,
        first_seen=instant(row.get("submission_time", "")),
    )


def _splunk(row: Row, maker: Maker) -> Entry | RejectClass:
    host, path = row.get("host", "").strip(), row.get("path", "").strip()
    if not host or "/" in host:
        return RejectClass.NOT_UNDERSTOOD
    if path in {"", "/"}:
        return maker.indicator(host)
    return maker.indicator(f"{host}/{path.removeprefix('/')}")


def _misp(row: Row, maker: Maker) -> Entry | RejectClass:
    if row.get("to_ids", "").strip() not in {"1", "true", "True"}:
        return RejectClass.NOT_FOR_DETECTION
    return maker.typed(row.get("type", "").strip(), row.get("value", ""))


def _typed(row: Row, maker: Maker) -> Entry | RejectClass:
    """Read a row by the type that it tells of its value; one that is no kind of indicator tells nothing."""
    kind, value = _filled(row, *_TYPE_COLUMNS), _filled(row, *_ANY_COLUMNS)
    if not kind and "data" in row and "indicator" in row:
        kind, value = _filled(row, "indicator"), _filled(row, "data")
    said = _NO_LETTERS.sub("", kind.lower().removeprefix("intel::"))
    if said in _OTHER_TYPES:
        return RejectClass.OTHER_TYPE
    if said not in _WEB_TYPES and said not in _DIGEST_TYPES:
        return _generic(row, maker)
    against = disqualified(row, known_good=maker.known_good)
    if against is not None:
        return against
    if not value:
        return RejectClass.NOT_UNDERSTOOD
    if said in _DIGEST_TYPES:
        return maker.digest(value)
    if RANGE.fullmatch(value):
        return RejectClass.WIDE_RANGE
    return maker.indicator(value)


def _generic(row: Row, maker: Maker) -> Entry | RejectClass:
    """Read the first column that holds something to check: a digest, a URL, a host, anything."""
    against = disqualified(row, known_good=maker.known_good)
    if against is not None:
        return against
    digest = _filled(row, *_DIGEST_COLUMNS)
    if digest:
        return maker.digest(digest)
    url = _filled(row, *_URL_COLUMNS)
    if _URL_CELL.match(url):
        return maker.indicator(url)
    text = _filled(row, *_HOST_COLUMNS, *_ANY_COLUMNS)
    if not text:
        return RejectClass.NOT_UNDERSTOOD
    return maker.any(text)


GENERIC: RowReader = _generic  # reads any table with a telling header
