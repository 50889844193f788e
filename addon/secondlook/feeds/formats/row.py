"""A table's rows, read by the columns they have: those of known publishers, and any that name what they hold.

Columns were added over the years; where no header names them, their count does.
"""

import html
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_network

from secondlook.core.url.address import network_in
from secondlook.core.verdict import Threat
from secondlook.feeds.entries.entry import Entry, RejectClass
from secondlook.feeds.entries.maker import Maker, refang
from secondlook.feeds.formats.qualifier import disqualified

MIN_CONFIDENCE = 50
THREATFOX_LIFE_S = 180 * 86_400.0

type Row = Mapping[str, str]
type RowReader = Callable[[Row, Maker], Entry | RejectClass]

_NOTHING = frozenset(("", "n/a", "none", "null", "-"))
_ESCAPES = re.compile(r"&(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});")
URL_CELL = re.compile(r"\s*(?:https?|hxxps?|ftp)://", re.IGNORECASE)
# no data: no dots (but for those of Zeek), no numbers
_COLUMN_NAME = re.compile(r"(?:[a-z][a-z _()#%-]*+(?:256|5|1)?[a-z _-]*+|meta\.[a-z_]+)?")

_COUNTED: dict[int, tuple[str, ...]] = {
    8: ("id", "dateadded", "url", "url_status", "threat", "tags", "urlhaus_link", "reporter"),
    9: ("id", "dateadded", "url", "url_status", "last_online", "threat", "tags", "urlhaus_link", "reporter"),
    14: (
        "first_seen_utc", "sha256_hash", "md5_hash", "sha1_hash", "reporter", "file_name", "file_type_guess",
        "mime_type", "signature", "clamav", "vtpercent", "imphash", "ssdeep", "tlsh",
    ),
    15: (
        "first_seen_utc", "ioc_id", "ioc_value", "ioc_type", "threat_type", "fk_malware", "malware_alias",
        "malware_printable", "last_seen_utc", "confidence_level", "is_compromised", "reference", "tags",
        "anonymous", "reporter",
    ),
}  # fmt: skip
_THREATFOX_OLD = tuple(name for name in _COUNTED[15] if name != "is_compromised")
_DIGEST_COLUMNS = (
    "sha256", "sha256_hash", "sha-256", "sha1", "sha1_hash", "sha-1", "md5", "md5_hash", "hash",
)  # fmt: skip
_URL_COLUMNS = ("url", "urls", "uri", "link")
_HOST_COLUMNS = ("domain", "host", "hostname", "fqdn", "ip", "ip_address", "address", "dst_ip")
_ANY_COLUMNS = ("indicator", "ioc", "ioc_value", "value", "data", "observable", "entry")
_TYPE_COLUMNS = ("type", "ioc_type", "ioc type", "indicator_type", "indicator type", "indicatortype")
KNOWN_COLUMNS = frozenset((*_DIGEST_COLUMNS, *_URL_COLUMNS, *_HOST_COLUMNS, *_ANY_COLUMNS))
_VALUES = frozenset(_ANY_COLUMNS)
_TYPES = frozenset(_TYPE_COLUMNS)
_NO_LETTERS = re.compile(r"[^a-z0-9]")
# the types of indicators as tables write them, without what parts their words
_WEB_TYPES = frozenset({
    "domain", "domainname", "hostname", "host", "fqdn", "url", "uri", "ip", "ipv4", "ipv6", "ipdst",
    "ipaddress", "ipv4addr", "ipv6addr", "address", "addr", "ipport", "ipdstport", "dstip",
})  # fmt: skip
_DIGEST_TYPES = frozenset(
    f"{before}{kind}{after}"
    for kind in ("md5", "sha1", "sha256", "hash")
    for before in ("", "file", "filehash")
    for after in ("", "hash")
)
_OTHER_TYPES = frozenset({
    "email", "emailaddress", "emailaddr", "emailsrc", "emaildst", "filename", "file", "filepath", "path",
    "mutex", "registry", "regkey", "registrykey", "useragent", "software", "username", "user", "account",
    "cve", "vulnerability", "asn", "btc", "wallet", "yara", "ssdeep", "tlsh", "imphash", "pehash", "ja3",
    "certhash", "pubkeyhash", "certificate", "fingerprint", "sha224", "sha384", "sha512", "ipsrc", "cidr",
    "subnet", "network", "ipv4cidr", "ipv6cidr", "port", "process", "processname", "command", "description",
    "text", "comment", "string", "pattern", "regex", "uripath", "phone", "phonenumber", "service",
})  # fmt: skip


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
        return typed
    return generic if have & KNOWN_COLUMNS else None


def by_count(cells: list[str]) -> tuple[tuple[str, ...], RowReader]:
    """Choose columns and reader by the number of cells; no columns where no known table has so many."""
    names = _COUNTED.get(len(cells), ())
    if len(cells) == 14 and len(cells[1]) != 64:  # noqa: PLR2004
        names = _THREATFOX_OLD
    return names, reader_of(names) or generic


def instant(text: str) -> float | None:
    """Read a time as feeds write it (`2026-02-07 04:31:13`, with or without UTC or zone) as Unix seconds."""
    text = text.strip().removesuffix("UTC").strip().replace(" ", "T", 1)
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def unescaped(text: str) -> str:
    """Undo the escapes of XML; `&copy=1` is a parameter of a URL, and no sign."""
    return _ESCAPES.sub(lambda found: html.unescape(found[0]), text)


def _filled(row: Row, *names: str) -> str:
    for name in names:
        cell = row.get(name, "").strip()
        if cell.lower() not in _NOTHING:
            return cell
    return ""


def _urlhaus(row: Row, maker: Maker) -> Entry | RejectClass:
    url = _filled(row, "url")
    if not URL_CELL.match(url):
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
    if confidence.isdecimal() and maker.is_unsure(int(confidence[:4]), MIN_CONFIDENCE):
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
    url = unescaped(_filled(row, "url"))
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


def typed(row: Row, maker: Maker) -> Entry | RejectClass:
    """Read a row by the type that it gives its value; by its columns where the type is of no known kind."""
    kind, value = _filled(row, *_TYPE_COLUMNS), _filled(row, *_ANY_COLUMNS)
    if not kind and "data" in row and "indicator" in row:
        kind, value = _filled(row, "indicator"), _filled(row, "data")
    kind_name = _NO_LETTERS.sub("", kind.lower().removeprefix("intel::"))
    if kind_name in _OTHER_TYPES:
        return RejectClass.OTHER_TYPE
    if kind_name not in _WEB_TYPES and kind_name not in _DIGEST_TYPES:
        return generic(row, maker)
    against = disqualified(row, known_good=maker.known_good)
    if against is not None:
        return against
    if not value:
        return RejectClass.NOT_UNDERSTOOD
    if kind_name in _DIGEST_TYPES:
        return maker.digest(value)
    return _network(value, maker) or maker.indicator(value)


def generic(row: Row, maker: Maker) -> Entry | RejectClass:
    """Read the first column that holds something to check: a digest, a URL, a host, anything."""
    against = disqualified(row, known_good=maker.known_good)
    if against is not None:
        return against
    digest = _filled(row, *_DIGEST_COLUMNS)
    if digest:
        return maker.digest(digest)
    url = _filled(row, *_URL_COLUMNS)
    if URL_CELL.match(url):
        return maker.indicator(url)
    text = _filled(row, *_HOST_COLUMNS, *_ANY_COLUMNS)
    if not text:
        return RejectClass.NOT_UNDERSTOOD
    return _network(text, maker) or maker.any(text)


def _network(text: str, maker: Maker) -> Entry | RejectClass | None:
    """Read a network; None where a text is none. A row is one entry, so that of one address alone has any."""
    plain = network_in(refang(text))
    if plain is None:
        return None
    try:
        network = ip_network(plain, strict=False)
    except ValueError:
        return RejectClass.BAD_ADDRESS
    return RejectClass.WIDE_RANGE if network.num_addresses > 1 else maker.indicator(str(network[0]))
