"""What a list must give, counted by other means than the product's: regexes, csv, json and ipaddress over raw text.

A reading gives claims, one for each row: an entry that must come out exactly, one that must come out with the
same host and the same letters and digits (percent-escapes, doubled slashes and the like are brought into a
normal form), or a class of reject. A row that these simple means cannot judge is odd: it may come out as
what it says, or not at all, and the table of the test says how many there are.
"""

import csv
import html
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from ipaddress import IPv4Address, ip_address, ip_network
from urllib.parse import unquote_to_bytes

import publicsuffixlist

from secondlook.feeds.entries.entry import RejectClass as R

type Claim = tuple[str, str]  # "entry", "like", "allow", "limit", "odd" or a class of reject; the text
type Claims = Callable[[str], Iterable[Claim]]

_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+(?:[a-z]{1,63}|xn--[a-z0-9-]{1,59})")
_NO_TOP_LEVEL = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62}")  # a label that none ever was
_URL = re.compile(r"(?:([a-z]+)://)?([^/?#\\]*@)?([^/?#\\@]*?)(:\d*)?([/?#\\].*)?", re.IGNORECASE | re.DOTALL)
_SIMPLE = re.compile(r"[!-\"$-&'-@\[\]-~]*")  # no fragment, no backslash, nothing outside of ASCII
_DIGEST = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32}")
_RANGE = re.compile(r"[0-9a-fA-F.:]+/\d+")
_ADDRESS6 = re.compile(r"\[?[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:]*\]?")
_NUMBERS = re.compile(r"[0-9.]+")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ADDRESS = re.compile(rf"((?:{_OCTET}\.){{3}}){_OCTET}")
_REMARK = re.compile(r"\s+(?:#|//|;)")
_RULE = re.compile(r"(.*?)(?:\$([a-z~]+(?:[=,].*)?))?")
_INEXACT = re.compile(r"[*^]|\A(?:://|-|\.)|\A[^/?:]*(?:@|\.\Z)")
_ANCHORED = re.compile(r"\|(?!\||https?:)")
_WORLD = ip_network("2000::/3")
_NOTHING = {32: "d41d8cd9", 40: "da39a3ee", 64: "e3b0c442"}
_NAMES = {32: "md5:", 40: "sha1:", 64: ""}


@cache
def _lists() -> tuple[publicsuffixlist.PublicSuffixList, frozenset[str], frozenset[str], frozenset[str]]:
    """Give the public suffixes, the platforms that many share, those with private suffixes, and the latter alone."""
    raw = files(publicsuffixlist).joinpath("public_suffix_list.dat").read_text()
    private = raw.partition("===BEGIN PRIVATE DOMAINS===")[2].splitlines()
    shared = files("secondlook").joinpath("shared_platforms.txt").read_text().splitlines()
    platforms = frozenset(line for line in shared if line and not line.startswith("#"))
    mixed = frozenset(line.removeprefix("*.") for line in private if line and not line.startswith("//"))
    return publicsuffixlist.PublicSuffixList(), platforms, platforms | mixed, mixed - platforms


@cache
def _block_is_global(three: str) -> bool:
    """Whether the addresses that begin with these three numbers are the world's."""
    return IPv4Address(f"{three}0").is_global


def _is_global(three: str, address: str) -> bool:
    """Whether an address is the world's: 256 stand in one block, but for 192.0.0, whose addresses differ."""
    return IPv4Address(address).is_global if three == "192.0.0." else _block_is_global(three)


def host(text: str, *, part: bool = False) -> Claim:
    """Judge a host; `part` says that less than the host was meant (a port, a fragment)."""
    name = text.strip(".").lower()
    if name.count(".") == 3 and _NUMBERS.fullmatch(name):
        found = _ADDRESS.fullmatch(name)
        if found is None:
            return "odd", text
        return ("entry", f"{name}/") if _is_global(found[1], name) else (R.LOCAL, text)
    if not _HOST.fullmatch(name) and _NO_TOP_LEVEL.fullmatch(name):
        return R.BAD_HOST, text
    if not _HOST.fullmatch(name) or len(name) > 253:
        return (
            (R.PUBLIC_SUFFIX, text)
            if re.fullmatch(r"[a-z0-9-]+", name) and not name.isdigit() and not name.startswith("0x")
            else ("odd", text)
        )
    suffixes, platforms, mixed, private = _lists()
    if name.endswith((".localdomain", ".localhost", ".local", ".internal", ".home.arpa")):
        return R.LOCAL, text
    suffix = suffixes.publicsuffix(name)
    labels = name.split(".")
    above = {".".join(labels[at:]) for at in range(len(labels))}
    parent = name.partition(".")[2]
    lone = parent in private and suffix in {name, parent} and not platforms & above  # one tenant's
    if suffix == name and not (lone and name not in mixed):
        return R.PUBLIC_SUFFIX, text
    if name in platforms or (part and not lone and mixed & above):
        return R.SHARED_PLATFORM, text
    return "entry", f"{name}/"


def indicator(text: str) -> Claim:  # noqa: C901 - one question after another
    """Judge a host, address, `host/path` or URL, defanged or not."""
    text = text.strip()
    if "[" in text or "(" in text:
        text = re.sub(r"[\[(](?:\.|dot)[\])]", ".", text).replace("[:]", ":")
    if text[:4].lower() == "hxxp":
        text = f"http{text[4:]}"
    if text.startswith("/") or ("://" not in text and re.search(r"\s", text)):
        return R.NOT_UNDERSTOOD, text
    found = _URL.fullmatch(text)
    if found is None:
        return "odd", text
    scheme, user, name, port, rest = found.groups("")
    if scheme.lower() not in {"", "http", "https", "ftp"}:
        return R.OTHER_TYPE, text
    if user and not scheme:
        return R.OTHER_TYPE, text
    if "*" in name or (not scheme and not name):
        return "odd", text
    path, _, left = (rest or "/").partition("#")
    path = path if path.startswith("/") else f"/{path}"
    if path.endswith("?") and path.count("?") == 1:
        path = path[:-1]
    if path == "/":
        return host(name, part=bool(left) or port not in {"", ":", ":80", ":443"})
    if not scheme and "." not in name.strip("."):
        return R.NOT_UNDERSTOOD, text  # a path without a host
    name = name.strip(".").lower()
    if not _HOST.fullmatch(name) and _NO_TOP_LEVEL.fullmatch(name):
        return R.BAD_HOST, text
    if not _HOST.fullmatch(name) and not re.fullmatch(r"[0-9]+(\.[0-9]+){3}", name):
        return "odd", text
    directory = path.partition("?")[0]
    plain = _SIMPLE.fullmatch(path) and "%" not in path and "//" not in directory and "/." not in directory
    return "entry" if plain else "like", name + path


def skeleton(expression: str) -> str:
    """Give what no normal form changes: the host, and the letters and digits of the rest."""
    raw = expression.encode("utf-8", "surrogateescape")
    while (decoded := unquote_to_bytes(raw)) != raw:
        raw = decoded
    name, _, path = raw.partition(b"/")
    return f"{name.decode('latin-1')}/{re.sub(rb'[^A-Za-z0-9]', b'', path).decode()}"


def digest(text: str, *, good: bool = False) -> Claim:
    """Judge a digest."""
    text = text.lower()
    if text.startswith(_NOTHING[len(text)]):
        return R.EMPTY_FILE, text
    return (R.WEAK_DIGEST, text) if good and len(text) < 64 else ("entry", _NAMES[len(text)] + text)


def anything(text: str, *, good: bool = False) -> Iterator[Claim]:
    """Judge one item of a plain list: a digest, a range, or an indicator."""
    if (_HOST.fullmatch(text) or _ADDRESS.fullmatch(text)) and not text.startswith("hxxp"):
        yield host(text)  # most rows of most lists, and nothing else can be meant
    elif _DIGEST.fullmatch(text):
        yield digest(text, good=good)
    elif _RANGE.fullmatch(text):
        network = ip_network(text, strict=False)
        if network.num_addresses > 256:
            yield R.WIDE_RANGE, text
        else:
            yield from (host(str(each)) if each.version == 4 else address6(str(each)) for each in network)
    elif _ADDRESS6.fullmatch(text):
        yield address6(text.strip("[]"))
    else:
        yield indicator(text.removeprefix("*."))


def address6(text: str) -> Claim:
    """Judge an IPv6 address; those of the world begin with 2 or 3."""
    address = ip_address(text)
    return ("entry", f"[{address}]/") if address.is_global and address in _WORLD else (R.LOCAL, text)


def data_lines(text: str, comments: str = "#!;") -> Iterator[str]:
    """Give the lines that carry data."""
    for line in (each.strip().removeprefix("\ufeff") for each in text.split("\n")):
        if line and line[0] not in comments and not line.startswith("//"):
            yield line


def plain(text: str) -> Iterator[Claim]:
    """A thing a line; what follows a blank and a comment mark is a remark."""
    for line in data_lines(text):
        yield from anything(_REMARK.split(line)[0])


def plain_good(text: str) -> Iterator[Claim]:
    """A plain list of what is known to be good."""
    for line in data_lines(text):
        yield from anything(line, good=True)


def hosts_file(text: str) -> Iterator[Claim]:
    """Names behind an address that leads nowhere; a line of one word is that name."""
    for line in data_lines(text, "#!["):
        words = line.partition("#")[0].split()
        yield from map(host, words[1:] or words)


def inexact(body: str) -> str:
    """Say which `scheme://host/path` an exception with a wildcard or a regular expression matches."""
    if body.startswith("/"):
        return body.strip("/").replace(".*", "[^/]*").replace("$", "/?$").replace("^", "^(http://)?")
    start = "://([^/]*[.])?" if body.startswith("||") else ""
    return start + re.escape(body.removeprefix("||")).replace(r"\*", ".*") + "([/?]|$)"


def rules(text: str) -> Iterator[Claim]:
    """Adblock: `||host^`, `||host/path` and bare hosts, for the whole page; exceptions; nothing with a wildcard."""
    for line in data_lines(text, "!"):
        pattern, options = _RULE.fullmatch(line).groups("")
        body = pattern.removesuffix("|").removesuffix("^").removesuffix("|")
        name = body.removeprefix("||")
        if line.startswith(("#", "[Adblock")):
            continue
        if line.startswith("@@"):
            found = re.fullmatch(r"@@\|\|?([^*^|$/]+)", body)
            yield from [("allow", found[1])] if found else [(R.PATTERN, line), ("limit", inexact(body[2:]))]
        elif pattern.startswith("/"):
            yield R.PATTERN, line
        elif "badfilter" in options:
            yield ("take back", name) if body.startswith("||") else (R.PATTERN, line)
        elif not {"all", "important", "document", "doc", ""}.issuperset(options.split(",")):
            yield R.MODIFIER, line
        elif _INEXACT.search(name):
            yield R.PATTERN, line
        elif _ANCHORED.match(body):
            yield R.NOT_UNDERSTOOD, line
        elif re.search(r"\s", name):
            yield R.BAD_HOST, line
        else:
            yield from anything(name.removeprefix("|"))


def settings_of(pattern: str, comments: str = "#") -> Claims:
    """Lines that match a pattern name a host; the others are settings."""

    def claims(text: str) -> Iterator[Claim]:
        for line in data_lines(text, comments):
            found = re.match(pattern, line)
            if found is not None:
                yield host(found[1])

    return claims


def column(at: int | str, *, unescape: bool = False) -> Claims:
    """One column of a table, by its number or its name in the first line that is no comment."""

    def claims(text: str) -> Iterator[Claim]:
        lines = [line.replace('", "', '","') for line in data_lines(text, "#")]
        table = csv.reader(io.StringIO("\n".join(lines)))
        place = next(table).index(at) if isinstance(at, str) else at
        for cells in table:
            cell = html.unescape(cells[place]) if unescape else cells[place]
            yield from anything(cell)

    return claims


def splunk(text: str) -> Iterator[Claim]:
    """Host and path in two columns."""
    for row in csv.DictReader(io.StringIO("\n".join(data_lines(text, "#")))):
        name, path = row["host"], row["path"]
        yield indicator(f"{name}/{path.removeprefix('/')}" if path.strip("/") else name)


def only_url(text: str) -> Iterator[Claim]:
    """A table whose columns slipped: the one cell that is a URL."""
    for cells in csv.reader(io.StringIO("\n".join([*data_lines(text)][1:]))):
        [url] = [cell for cell in cells if cell.startswith("http")]
        yield indicator(url)


def misp_table(text: str) -> Iterator[Claim]:
    """A MISP export."""
    for row in csv.DictReader(io.StringIO(text)):
        yield _attribute(row)


def _attribute(item: dict) -> Claim:
    if str(item["to_ids"]) not in {"1", "True"}:
        return R.NOT_FOR_DETECTION, item["value"]
    kind, value = item["type"], item["value"].strip()
    if kind in {"domain", "hostname", "url", "ip-dst"}:
        return indicator(value)
    name, _, rest = value.partition("|")
    if kind == "domain|ip":
        return indicator(name)
    if kind in {"sha256", "sha1", "md5"} or kind.startswith("filename|") or kind == "malware-sample":
        found = re.search(r"[0-9a-fA-F]{32,64}\Z", rest or name)
        return (
            digest(found[0])
            if found and kind.rpartition("|")[2] in {"sha256", "sha1", "md5", "malware-sample"}
            else (R.OTHER_TYPE, value)
        )
    return R.OTHER_TYPE, value


def misp(text: str) -> Iterator[Claim]:
    """A MISP event: what is meant for detection; the strongest digest stands for a file."""
    event = json.loads(re.sub(r",(\s*[\]}])", r"\1", text))
    event = event["response"][0] if "response" in event else event
    event = event.get("Event", event)
    yield from map(_attribute, event.get("Attribute", []))
    for thing in event.get("Object", []):
        items = thing.get("Attribute", [])
        if thing["name"] == "file":
            usable = {item["type"] for item in items if item["to_ids"]}
            best = next((kind for kind in ("sha256", "sha1", "md5") if kind in usable), None)
            items = [
                item
                for item in items
                if best is None or item["type"] not in {"sha256", "sha1", "md5"} - {best}
            ]
        yield from map(_attribute, items)


def threatfox(text: str) -> Iterator[Claim]:
    """ThreatFox: sure enough, and of a compromised site the URLs alone."""
    for ioc in (ioc for group in json.loads(text).values() for ioc in group):
        kind, value = ioc["ioc_type"], ioc["ioc_value"]
        if ioc["confidence_level"] < 50:
            yield R.LOW_CONFIDENCE, value
        elif kind in {"domain", "ip:port"}:
            yield (R.COMPROMISED, value) if ioc["is_compromised"] else indicator(value)
        else:
            yield digest(value) if kind.endswith("_hash") else indicator(value)


def every_url(text: str) -> Iterator[Claim]:
    """Every value of a key `url`, wherever it stands."""
    return (indicator(json.loads(value)) for value in re.findall(r'"url"\s*:\s*("(?:[^"\\]|\\.)*")', text))


def stix(text: str) -> Iterator[Claim]:
    """Patterns that say equality; other object types are not checked here."""
    for item in json.loads(text)["objects"]:
        if item["type"] != "indicator":
            continue
        for path, quoted in re.findall(r"([a-z0-9-]+:[\w.'-]+?)\s*=\s*'((?:[^'\\]|\\.)*)'", item["pattern"]):
            value = re.sub(r"\\(.)", r"\1", quoted)
            if path.startswith("file:hashes"):
                yield digest(value)
            elif path in {"url:value", "domain-name:value", "ipv4-addr:value"}:
                yield from anything(value) if path[0] == "i" else (indicator(value),)
            else:
                yield R.OTHER_TYPE, value


def digests(text: str) -> Iterator[Claim]:
    """The longest digests of a line that stand alone; a defanged URL where there is none."""
    for line in data_lines(text, "#"):
        words = re.split(r"""[\s,;|"'`<>()\[\]{}]+""", re.sub(r"\w+://[^\s\",]*", "", line))
        found = [word.rstrip(":.") for word in words if _DIGEST.fullmatch(word.rstrip(":."))]
        remark = re.match(r"([0-9a-fA-F]{32,64})\s*;", line)
        longest = [remark[1]] if remark else [each for each in found if len(each) == max(map(len, found))]
        if longest:
            yield from map(digest, longest)
        else:
            yield indicator(line) if re.search(r"hxxp|\[\.\]", line) else (R.NOT_UNDERSTOOD, line)


def signatures(text: str) -> Iterator[Claim]:
    """ClamAV: `digest:size:name`; the size first is a section's."""
    for line in data_lines(text, "#"):
        first, second, *_ = line.split(":")
        yield (
            digest(first)
            if _DIGEST.fullmatch(first)
            else (R.PART_OF_FILE if _DIGEST.fullmatch(second) else R.NOT_UNDERSTOOD, line)
        )


def warninglist(text: str) -> Iterator[Claim]:
    """A MISP warninglist: names that are good, or at least common."""
    document = json.loads(text)
    for item in document["list"]:
        if document["type"] in {"regex", "substring"}:
            yield R.PATTERN, item
        else:
            yield from anything(item.strip().removeprefix("."), good=True)


@dataclass
class Count:
    """What all rows of a list must give together."""

    entries: Counter[str] = field(default_factory=Counter)  # exactly these
    like: Counter[str] = field(default_factory=Counter)  # skeletons
    rejected: Counter[str] = field(default_factory=Counter)
    allowed: list[tuple[bool, str]] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)  # of exceptions that say nothing exactly
    odd: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows that carry data."""
        return (
            sum(map(Counter.total, (self.entries, self.like, self.rejected)))
            + len(self.allowed)
            + len(self.odd)
        )


def count(texts: Iterable[str], claims: Claims) -> Count:
    """Count a list, or the members of an archive."""
    found = Count()
    for text in texts:
        for kind, value in claims(text):
            match kind:
                case "entry":
                    found.entries[value] += 1
                case "like":
                    found.like[skeleton(value)] += 1
                case "allow" | "take back":
                    found.allowed.append((kind == "allow", value))
                case "limit":
                    found.limits.append(value)
                case "odd":
                    found.odd.append(value)
                case _:
                    found.rejected[kind] += 1
    return found


def full_hash(expression: str) -> bytes:
    """The hash under which an entry is published."""
    return (
        sha256(expression.encode("utf-8", "surrogateescape")).digest()
        if len(expression) != 64 or not _DIGEST.fullmatch(expression)
        else bytes.fromhex(expression)
    )


def doubled_scheme(row: str) -> str:
    """Give the entry of a URL whose scheme stands twice (`http://ftp://…`): the colon ends the host."""
    found = re.fullmatch(r"https?://([a-z]+)://([!-~]+)", row)
    assert found is not None, f"what should become of {row!r}?"
    return f"{found[1]}/{found[2]}"


def typed(text: str) -> Iterator[Claim]:
    """A table of a type, a value and a remark: digests of files, and prose about them."""
    for kind, value, *_ in list(csv.reader(io.StringIO(text)))[1:]:
        yield digest(value) if kind == "sha256" else (R.OTHER_TYPE, value)
