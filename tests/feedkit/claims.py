"""What one item of a list must become, judged by simple means."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from ipaddress import IPv4Address, ip_address, ip_network
from urllib.parse import unquote_to_bytes

import publicsuffixlist

from secondlook.feeds.entries.entry import RejectClass as R

type Claim = tuple[str, str]  # "entry", "like", "allow", "limit", "odd" or a class of reject; the text

_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+(?:[a-z]{1,63}|xn--[a-z0-9-]{1,59})")
_NO_TOP_LEVEL = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62}")  # a label that none ever was
_URL = re.compile(r"(?:([a-z]+)://)?([^/?#\\]*@)?([^/?#\\@]*?)(:\d*)?([/?#\\].*)?", re.IGNORECASE | re.DOTALL)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
# nothing is to be cut off, decoded, or taken for a dot in brackets
_USUAL_URL = re.compile(rf"https?://({_HOST.pattern})(/[!\"$&')-Z\]-~]*[!\"$&')->@-Z\]-~])")
# a row that is one of these, or a name (or its site), or an address; a rule for one of the latter
_USUAL_ROW = re.compile(
    rf"^(?:{_USUAL_URL.pattern}|(?:https?://)?((?!hxxp|-){_HOST.pattern})/?|((?:{_OCTET}\.){{3}}{_OCTET}))\r?$",
    re.MULTILINE,
)
_USUAL_RULE = re.compile(
    rf"^\|\|()()(?:((?!hxxp|-){_HOST.pattern})|((?:{_OCTET}\.){{3}}{_OCTET}))\^(?:\$all)?\r?$", re.MULTILINE
)
_LOCAL_ENDS = (".localdomain", ".localhost", ".local", ".internal", ".home.arpa")
_SIMPLE = re.compile(r"[!-\"$-\[\]-~]*")  # no fragment, no backslash, nothing outside of ASCII
DIGEST = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32}")
_RANGE = re.compile(r"[0-9a-fA-F.:]+/\d+")
_ADDRESS6 = re.compile(r"\[?[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:]*\]?")
_NUMBERS = re.compile(r"[0-9.]+")
_ADDRESS = re.compile(rf"((?:{_OCTET}\.){{3}}){_OCTET}")
# with what an address begins that may not be the world's, by IANA's registry
_SPECIAL = {f"{first}" for first in (0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256))}
_MARKS = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalnum())
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
def _remarkable() -> tuple[frozenset[str], set[str]]:
    """Give the names that may be more than one site's, and those below which every label is one of many."""
    raw = files(publicsuffixlist).joinpath("public_suffix_list.dat").read_text()
    suffixes = [line.removeprefix("!") for line in raw.splitlines() if line and not line.startswith("//")]
    names = {name.removeprefix("*.").encode("idna").decode() for name in suffixes}
    wild = {name.removeprefix("*.") for name in suffixes if name.startswith("*.")}
    return _lists()[1] | names, wild


@cache
def _block_is_global(three: str) -> bool:
    """Whether the addresses that begin with these three numbers are the world's."""
    return IPv4Address(f"{three}0").is_global


def _is_global(three: str, address: str) -> bool:
    """Whether an address is the world's: 256 stand in one block, but for 192.0.0, whose addresses differ."""
    if three.partition(".")[0] not in _SPECIAL:
        return True
    return IPv4Address(address).is_global if three == "192.0.0." else _block_is_global(three)


def _addressed(three: str, address: str) -> Claim:
    """Judge an IPv4 address by its first three numbers and the whole."""
    return ("entry", f"{address}/") if _is_global(three, address) else (R.LOCAL, address)


def host(text: str, *, part: bool = False) -> Claim:
    """Judge a host; `part` says that less than the host was meant (a port, a fragment)."""
    name = text.strip(".").lower()
    if name.count(".") == 3 and _NUMBERS.fullmatch(name):
        found = _ADDRESS.fullmatch(name)
        if found is None:
            return "odd", text
        return _addressed(found[1], name)
    if not _HOST.fullmatch(name):
        if _NO_TOP_LEVEL.fullmatch(name):
            return R.BAD_HOST, text
        return (
            (R.PUBLIC_SUFFIX, text)
            if re.fullmatch(r"[a-z0-9-]+", name) and not name.isdigit() and not name.startswith("0x")
            else ("odd", text)
        )
    return _named(name, text, part=part)


def _named(name: str, text: str, *, part: bool = False) -> Claim:
    """Judge a name of several labels."""
    if len(name) > 253:
        return "odd", text
    if name.endswith(_LOCAL_ENDS):
        return R.LOCAL, text
    remarkable, remarkable_below = _remarkable()
    parent = name.partition(".")[2]
    if not part and name not in remarkable and parent not in remarkable_below:
        return "entry", f"{name}/"
    suffixes, platforms, mixed, private = _lists()
    suffix = suffixes.publicsuffix(name)
    labels = name.split(".")
    above = {".".join(labels[at:]) for at in range(len(labels))}
    lone = parent in private and suffix in {name, parent} and not platforms & above  # one tenant's
    if suffix == name and not (lone and name not in mixed):
        return R.PUBLIC_SUFFIX, text
    if name in platforms or (part and not lone and mixed & above):
        return R.SHARED_PLATFORM, text
    return "entry", f"{name}/"


def indicator(text: str) -> Claim:
    """Judge a host, address, `host/path` or URL, defanged or not."""
    text = text.strip()
    found = _USUAL_URL.fullmatch(text)
    if found is None:
        return _unusual(text)
    directory = found[2].partition("?")[0]
    return "like" if "//" in directory or "/." in directory else "entry", found[1] + found[2]


def _unusual(text: str) -> Claim:  # noqa: C901 - one question after another
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
    while b"%" in raw and (decoded := unquote_to_bytes(raw)) != raw:
        raw = decoded
    name, _, path = raw.partition(b"/")
    return f"{name.decode('latin-1')}/{path.translate(None, _MARKS).decode()}"


def digest(text: str, *, good: bool = False) -> Claim:
    """Judge a digest."""
    text = text.lower()
    if text.startswith(_NOTHING[len(text)]):
        return R.EMPTY_FILE, text
    return (R.WEAK_DIGEST, text) if good and len(text) < 64 else ("entry", _NAMES[len(text)] + text)


def anything(text: str, *, good: bool = False) -> Iterator[Claim]:
    """Judge one item of a plain list: a digest, a range, or an indicator."""
    if text.startswith(("http://", "https://")):
        yield indicator(text)
    elif _HOST.fullmatch(text) and not text.startswith("hxxp"):
        yield _named(text, text)  # most rows of most lists, and nothing else can be meant
    elif found := _ADDRESS.fullmatch(text):
        yield _addressed(found[1], text)
    elif DIGEST.fullmatch(text):
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


def usual(text: str, *, rule: bool = False) -> tuple[list[str], str]:
    """Give the entries of the rows that can only be one, all at once, and the text of the other rows.

    Each is what `anything` makes of its row: those whose host or path is looked at twice are left to it.
    """
    parts = (_USUAL_RULE if rule else _USUAL_ROW).split(text)
    remarkable, remarkable_below = _remarkable()
    entries, left = [], []
    for host, path, name, number in zip(parts[1::5], parts[2::5], parts[3::5], parts[4::5], strict=True):
        if name:
            if (
                name not in remarkable
                and name.partition(".")[2] not in remarkable_below
                and len(name) <= 253
                and not name.endswith(_LOCAL_ENDS)
            ):
                entries.append(f"{name}/")
            else:
                left.append(f"||{name}" if rule else name)
        elif path:
            if "//" not in path and "/." not in path:
                entries.append(host + path)
            else:
                left.append(f"http://{host}{path}")
        elif number.partition(".")[0] in _SPECIAL:
            left.append(f"||{number}" if rule else number)
        else:
            entries.append(f"{number}/")
    return entries, "\n".join(("".join(parts[::5]), *left))
