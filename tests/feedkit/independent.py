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
from functools import lru_cache
from itertools import repeat

from feedkit.claims import DIGEST, Claim, anything, digest, host, indicator, skeleton, usual
from secondlook.feeds.entries.entry import RejectClass as R

type Claims = Callable[[str], Iterable[Claim]]

_REMARK = re.compile(r"\s+(?:#|//|;)")
_RULE = re.compile(r"(.*?)(?:\$([a-z~]+(?:[=,].*)?))?")
_INEXACT = re.compile(r"[*^]|\A(?:://|-|\.)|\A[^/?:]*(?:@|\.\Z)")
_ANCHORED = re.compile(r"\|(?!\||https?:)")


def data_lines(text: str, comments: str = "#!;") -> Iterator[str]:
    """Give the lines that carry data."""
    for each in text.split("\n"):
        line = each.strip().removeprefix("\ufeff")
        if line and line[0] not in comments and line[:2] != "//":
            yield line


def plain(text: str) -> Iterator[Claim]:
    """A thing a line; what follows a blank and a comment mark is a remark."""
    entries, others = usual(text)
    yield from zip(repeat("entry"), entries)
    for line in data_lines(others):
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
    entries, others = usual(text, rule=True)
    yield from zip(repeat("entry"), entries)
    for line in data_lines(others, "!"):
        yield from _rule(line)


@lru_cache(maxsize=1 << 16)  # the states of one list have most lines in common
def _rule(line: str) -> tuple[Claim, ...]:
    if line.startswith(("#", "[Adblock")):
        return ()
    pattern, options = _RULE.fullmatch(line).groups("")
    body = pattern.removesuffix("|").removesuffix("^").removesuffix("|")
    name = body.removeprefix("||")
    if line.startswith("@@"):
        found = re.fullmatch(r"@@\|\|?([^*^|$/]+)", body)
        return (("allow", found[1]),) if found else ((R.PATTERN, line), ("limit", inexact(body[2:])))
    if pattern.startswith("/"):
        return ((R.PATTERN, line),)
    if "badfilter" in options:
        return (("take back", name) if body.startswith("||") else (R.PATTERN, line),)
    if not {"all", "important", "document", "doc", ""}.issuperset(options.split(",")):
        return ((R.MODIFIER, line),)
    if _INEXACT.search(name):
        return ((R.PATTERN, line),)
    if _ANCHORED.match(body):
        return ((R.NOT_UNDERSTOOD, line),)
    if re.search(r"\s", name):
        return ((R.BAD_HOST, line),)
    return tuple(anything(name.removeprefix("|")))


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
        found = [word.rstrip(":.") for word in words if DIGEST.fullmatch(word.rstrip(":."))]
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
            if DIGEST.fullmatch(first)
            else (R.PART_OF_FILE if DIGEST.fullmatch(second) else R.NOT_UNDERSTOOD, line)
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
    entries: list[str] = []
    like: list[str] = []
    rejected: list[str] = []
    for text in texts:
        for kind, value in claims(text):
            match kind:
                case "entry":
                    entries.append(value)
                case "like":
                    like.append(skeleton(value))
                case "allow" | "take back":
                    found.allowed.append((kind == "allow", value))
                case "limit":
                    found.limits.append(value)
                case "odd":
                    found.odd.append(value)
                case _:
                    rejected.append(kind)
    for counter, values in ((found.entries, entries), (found.like, like), (found.rejected, rejected)):
        counter.update(values)
    return found


def doubled_scheme(row: str) -> str:
    """Give the entry of a URL whose scheme stands twice (`http://ftp://…`): the colon ends the host."""
    found = re.fullmatch(r"https?://([a-z]+)://([!-~]+)", row)
    assert found is not None, f"what should become of {row!r}?"
    return f"{found[1]}/{found[2]}"


def typed(text: str) -> Iterator[Claim]:
    """A table of a type, a value and a remark: digests of files, and prose about them."""
    for kind, value, *_ in list(csv.reader(io.StringIO(text)))[1:]:
        yield digest(value) if kind == "sha256" else (R.OTHER_TYPE, value)
