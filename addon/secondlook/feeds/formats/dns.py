"""Block lists written for name servers (dnsmasq, unbound, BIND, RPZ) and IE's tracking protection lists."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import wraps

from secondlook.feeds.entries.entry import Entry, RejectClass
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.plain import INLINE_COMMENT, holds_nothing, is_sink, note_comment
from secondlook.feeds.unpacking.text import TOO_LONG_MARK, batches

type Made = tuple[str, Entry | RejectClass]  # the text as written, and what became of it
type Parser = Callable[[Iterable[bytes], Maker, Tally], Iterator[Entry]]
type LineReader = Callable[
    [str, Maker, Tally], Iterator[Made] | None
]  # None: a line that has no part in blocking

_DNSMASQ = re.compile(r"(address|local|server)=/(.*)/([^/]*)")
_UNBOUND_ZONE = re.compile(r'local-zone:\s*"?([^"\s]+)"?\s+"?(\S+?)"?\s*(?:#.*)?')
_UNBOUND_DATA = re.compile(r"""local-data:\s*["']([^"']+)["']\s*(?:#.*)?""")
_UNBOUND_BLOCKS = frozenset({
    "always_nxdomain", "always_null", "always_refuse", "always_deny", "always_nodata", "static", "refuse",
    "deny", "redirect", "inform_deny", "inform_redirect",
})  # fmt: skip
_UNBOUND_PASSES = frozenset(("transparent", "typetransparent", "always_transparent", "nodefault"))
_BIND = re.compile(r'zone\s+"([^"]+)"\s*(?:IN\s*)?\{(.*)\}\s*+;?\s*+', re.IGNORECASE)
_BIND_NOWHERE = re.compile(r"null|empty|block|sink|blackhole|rpz", re.IGNORECASE)
_TPL = re.compile(r"([-+])d\s+(\S+)(?:\s+(\S+))?")
_RPZ_BLOCKS = frozenset((".", "*.", "rpz-drop."))
_RPZ_FILLER = re.compile(r"IN|CH|[0-9][0-9smhdw]*", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,2}")  # of a prefix of IPv4
_SETTING = re.compile(r"[a-z-]+:(?:\s|\Z)|msFilterList\b|:\s*Expires", re.IGNORECASE)


def _by_lines(read: LineReader) -> Parser:
    """Make a parser of what reads one line."""

    @wraps(read)
    def parse(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
        for first, lines in batches(chunks):
            for number, line in enumerate(lines, first):
                if holds_nothing(number, line, tally):
                    continue
                text = line.strip()
                if text.startswith(("#", "//")):
                    note_comment(text, tally)
                else:
                    yield from _settled(number, read(text, maker, tally), tally)

    return parse


def _settled(number: int, made: Iterable[Made] | None, tally: Tally) -> Iterator[Entry]:
    """Count what a line names, each with its text; None is a line that names nothing."""
    if made is None:
        tally.comments += 1
        return
    for text, one in made:
        tally.rows += 1
        yield from tally.settled(number, one, text)


@_by_lines
def parse_dnsmasq(text: str, maker: Maker, tally: Tally) -> Iterator[Made]:
    """Read dnsmasq settings: `address=/host/`, `local=/host/`, `server=/host/`; `server=/host/#` excepts."""
    found = _DNSMASQ.fullmatch(INLINE_COMMENT.sub("", text))
    if found is None:
        yield text, RejectClass.NOT_UNDERSTOOD
        return
    kind, hosts, target = found.groups()
    for host in hosts.split("/"):
        if kind != "address" and target == "#":
            if "*" in host:
                tally.inexact.add_host(host)
            yield text, RejectClass.PATTERN if "*" in host else maker.host(host, exception=True)
        elif target and (kind == "server" or (target != "#" and not is_sink(target))):
            yield text, RejectClass.NOT_A_BLOCK
        elif host in {"", "#"} or "*" in host:
            yield text, RejectClass.PATTERN
        else:
            yield text, maker.host(host)


@_by_lines
def parse_unbound(text: str, maker: Maker, _tally: Tally) -> Iterator[Made] | None:
    """Read unbound settings: `local-zone:` of a blocking type, `local-data:` that leads nowhere.

    A name that is led to another one is an exception.
    """
    zone = _UNBOUND_ZONE.fullmatch(text)
    if zone is not None:
        name, kind = zone[1], zone[2].lower()
        if kind in _UNBOUND_BLOCKS:
            return iter([(text, maker.host(name))])
        if kind in _UNBOUND_PASSES:
            return iter([(text, maker.host(name, exception=True))])
        return iter([(text, RejectClass.NOT_A_BLOCK)])
    data = _UNBOUND_DATA.fullmatch(text)
    if data is not None:
        words = data[1].split()
        if len(words) > 2 and words[-2].upper() == "CNAME":  # noqa: PLR2004 - led elsewhere, as for safe search
            return iter([(text, maker.host(words[0], exception=True))])
        sink = len(words) > 1 and words[-2].upper() in {"A", "AAAA"} and is_sink(words[-1])
        return iter([(text, maker.host(words[0]) if sink else RejectClass.NOT_A_BLOCK)])
    return None if _SETTING.match(text) else iter([(text, RejectClass.NOT_UNDERSTOOD)])


@_by_lines
def parse_bind(text: str, maker: Maker, _tally: Tally) -> Iterator[Made]:
    """Read BIND zone statements, one a line, whose zone file is an empty one."""
    found = _BIND.fullmatch(text)
    if found is None:
        yield text, RejectClass.NOT_UNDERSTOOD
        return
    body = found[2]
    file = re.search(r'file\s+"([^"]+)"', body)
    blocks = re.search(r"type\s+(?:master|primary)\b", body) and file and _BIND_NOWHERE.search(file[1])
    yield text, maker.host(found[1]) if blocks else RejectClass.NOT_A_BLOCK


@_by_lines
def parse_tpl(text: str, maker: Maker, _tally: Tally) -> Iterator[Made] | None:
    """Read an Internet Explorer tracking protection list: `-d host [path]` blocks, `+d host` excepts."""
    found = _TPL.fullmatch(text)
    if found is None:
        return None if _SETTING.match(text) else iter([(text, RejectClass.PATTERN)])
    sign, host, path = found.groups()
    if path and sign == "-":
        return iter([(text, RejectClass.PATTERN)])  # a piece of text somewhere in the URLs of the host
    return iter([(text, maker.host(host, exception=sign == "+"))])


class _Zone:
    """The reading of one RPZ file: its origin, the last owner, and whether a record goes on."""

    def __init__(self, maker: Maker, tally: Tally) -> None:
        self._maker = maker
        self._tally = tally
        self._origin: str | None = (
            None  # what relative names stand below; None: the zone, whatever it is called
        )
        self._apex = ""  # the zone's own name, where its SOA or the first origin names it
        self._owner = ""
        self._listed = ""  # the last host that was blocked itself
        self._open = False

    def line(self, text: str, *, indented: bool) -> Iterator[Made] | None:
        """Read a line without its comment."""
        if self._open:
            self._open = ")" not in text
            return None
        words = text.split()
        if words[0].upper() == "$ORIGIN" and len(words) > 1:
            self._origin = self._absolute(words[1].lower())
            self._apex = self._apex or self._origin
        if words[0].startswith("$"):
            return None
        if not indented:
            self._owner = words.pop(0)
        while words and _RPZ_FILLER.fullmatch(words[0]):
            words.pop(0)
        kind = words[0].upper() if words else ""
        if kind == "SOA" and (self._owner.endswith(".") or self._origin is not None):
            self._apex = self._absolute(self._owner.lower())
        if kind in {"SOA", "NS", "TXT"}:
            self._open = "(" in text and ")" not in text
            return None
        return self._record(text, kind, words[1:])

    def _record(self, text: str, kind: str, data: list[str]) -> Iterator[Made]:
        owner = self._absolute(self._owner.lower())
        if self._origin is not None or self._owner.endswith("."):
            if not self._apex or not owner.endswith("." + self._apex):
                yield text, RejectClass.NOT_UNDERSTOOD
                return
            owner = owner[: -len(self._apex) - 1]
        target = data[0].lower() if data else ""
        if kind == "CNAME" and target == "rpz-passthru.":
            yield text, self._passed(owner)
        elif (kind == "CNAME" and target in _RPZ_BLOCKS) or (kind in {"A", "AAAA"} and is_sink(target)):
            yield text, self._blocked(owner)
        else:
            yield text, RejectClass.NOT_A_BLOCK if kind else RejectClass.NOT_UNDERSTOOD

    def _absolute(self, name: str) -> str:
        """Return a name in full, as far as the zone gives it, without the dot behind it."""
        if name.endswith("."):
            return name[:-1]
        if name == "@":
            return self._origin or ""
        return f"{name}.{self._origin}" if self._origin else name

    def _passed(self, owner: str) -> Entry | RejectClass:
        if owner.endswith((".rpz-nsdname", ".rpz-nsip", ".rpz-client-ip")):
            return RejectClass.OTHER_TYPE
        if not owner.endswith(".rpz-ip"):
            return self._maker.host(owner.removeprefix("*."), exception=True)
        made = _rpz_address(owner.removesuffix(".rpz-ip"), self._maker, exception=True)
        length, *parts = owner.removesuffix(".rpz-ip").split(".")
        if made is RejectClass.WIDE_RANGE and len(parts) == 4 and _LENGTH.fullmatch(length):  # noqa: PLR2004
            self._tally.inexact.add_network(parts[::-1][: int(length) // 8])  # rounded to a wider one
        return made

    def _blocked(self, owner: str) -> Entry | RejectClass:
        if owner.endswith((".rpz-nsdname", ".rpz-nsip", ".rpz-client-ip")):
            return RejectClass.OTHER_TYPE
        if owner.endswith(".rpz-ip"):
            return _rpz_address(owner.removesuffix(".rpz-ip"), self._maker)
        if owner.startswith("*."):
            # its subdomains alone: cannot be expressed, unless the host itself is blocked too
            return self._maker.host(owner[2:]) if owner[2:] == self._listed else RejectClass.PATTERN
        made = self._maker.host(owner)
        if isinstance(made, Entry):
            self._listed = owner
        return made


def _rpz_address(owner: str, maker: Maker, *, exception: bool = False) -> Entry | RejectClass:
    """Read `32.10.100.51.198` (IPv4) or `128.1.zz.db8.2001` (IPv6), the prefix length first."""
    length, *parts = owner.split(".")
    if len(parts) == 4 and "zz" not in parts:  # noqa: PLR2004
        if length != "32":
            return RejectClass.WIDE_RANGE
        return maker.host(".".join(reversed(parts)), exception=exception)
    if length != "128":
        return RejectClass.WIDE_RANGE
    text = ":".join(reversed(parts)).replace("zz", "")
    text = f"[{':' if text.startswith(':') else ''}{text}{':' if text.endswith(':') else ''}]"
    return maker.host(text, exception=exception)


def parse_rpz(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a response policy zone: `host CNAME .` and its kind, owners relative to the zone or in full."""
    zone = _Zone(maker, tally)
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            text = line.partition(";")[0].rstrip()
            if line == TOO_LONG_MARK:
                tally.rows += 1
                tally.reject(number, RejectClass.TOO_LONG, "")
            elif not text.strip():
                if line.lstrip()[:1] == ";":
                    note_comment(line.strip(), tally)
                else:
                    tally.blanks += 1
            else:
                yield from _settled(number, zone.line(text, indented=text[0] in " \t"), tally)
