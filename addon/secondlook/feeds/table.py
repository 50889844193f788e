"""Tables of comma-separated values: abuse.ch, PhishTank, MISP, Splunk, and any with a telling header.

Columns are found by the header's names, even where it stands in a comment, else by their count, as columns
were added over the years. A row is one line: a stray quote spoils one row, not the rest of the file.
"""

import csv
import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from secondlook.core.verdict import Threat
from secondlook.feeds.entry import Entry, RejectClass
from secondlook.feeds.maker import Maker
from secondlook.feeds.plain import note_comment
from secondlook.feeds.qualifier import disqualified
from secondlook.feeds.tally import Tally
from secondlook.feeds.text import TOO_LONG_MARK, batches

MIN_CONFIDENCE = 50
THREATFOX_LIFE_S = 180 * 86_400.0

type Row = Mapping[str, str]
type RowReader = Callable[[Row, Maker], Entry | RejectClass]

_NOTHING = frozenset(("", "n/a", "none", "null", "-"))
_COLUMN_NAME = re.compile(r"(?:[a-z][a-z _()#%-]*(?:256|5|1)?[a-z _-]*)?")  # no data: no dots, no numbers
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
KNOWN_COLUMNS = frozenset((*_DIGEST_COLUMNS, *_URL_COLUMNS, *_HOST_COLUMNS, *_ANY_COLUMNS))


def column_names(line: str) -> tuple[str, ...]:
    """Give the column names of a header line, commented out or not."""
    return tuple(cell.strip().strip("\"'").lower() for cell in _cells(line.lstrip("#;! \t\ufeff")))


def parse_table(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a table of any known kind."""
    table = _Table(maker, tally)
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            text = line.strip()
            if not text:
                tally.blanks += 1
            elif not table.is_header(text):
                tally.rows += 1
                made = RejectClass.TOO_LONG if line == TOO_LONG_MARK else table.row(text)
                entry = tally.settle(number, made, text)
                if entry is not None:
                    yield entry


class _Table:
    """The reading of one table: its columns, once they are known."""

    def __init__(self, maker: Maker, tally: Tally) -> None:
        self._maker = maker
        self._tally = tally
        self._names: tuple[str, ...] = ()
        self._reader: RowReader | None = None

    def is_header(self, text: str) -> bool:
        """Take the column names from a header, in a comment or not; tells whether a line is either."""
        comment = text[0] == "#"
        if comment:
            note_comment(text, self._tally)
        if self._reader is None and "," in text:
            names = column_names(text)
            reader = reader_of(names)
            if reader is not None:
                self._names, self._reader = names, reader
                self._tally.comments += not comment
                return True
        return comment

    def row(self, text: str) -> Entry | RejectClass:
        """Read one row; a row that fits no column gives its one URL, if it has exactly one."""
        cells = _cells(text)
        if self._reader is None:
            self._names, self._reader = _by_count(cells)
        made: Entry | RejectClass = RejectClass.NOT_UNDERSTOOD
        if self._names and len(self._names) <= len(cells):
            made = self._reader(dict(zip(self._names, cells, strict=False)), self._maker)
        if made is RejectClass.NOT_UNDERSTOOD:
            urls = [cell for cell in cells if _URL_CELL.match(cell)]
            others = [
                cell for cell in cells if cell.strip() and not cell.strip().isdigit() and cell not in urls
            ]
            if len(urls) == 1 and not others:
                return self._maker.indicator(urls[0])
        return made


def _cells(text: str) -> list[str]:
    if text[:1] == '"' and text[-1:] == '"' and '""' not in text and "\\" not in text:
        separator = '", "' if '", "' in text else '","'
        cells = text[1:-1].split(separator)
        if not any('"' in cell for cell in cells):
            return cells
    try:
        return next(csv.reader([text], skipinitialspace=True), [])
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
    return _generic if have & KNOWN_COLUMNS and all(map(_COLUMN_NAME.fullmatch, names)) else None


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
