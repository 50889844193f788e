"""Canonical URLs by the Safe Browsing v5 rules, for any bytes or text whatever.

The order is that of the rules: TAB, CR and LF are deleted, outer blanks trimmed, the fragment dropped, then
the URL is cut into scheme, authority, path and query, and each of these is percent-decoded until nothing
changes. Hosts become lower-case ASCII (UTS 46), addresses their one normal form; paths lose `.`, `..` and
doubled slashes; at the end bytes up to 0x20 and from 0x7F, `#` and `%` are escaped with upper-case hex.

Where the rules are silent we do what browsers do, for they make the request: the authority ends at a
backslash, the last `@` ends the credentials, dot segments are resolved before slashes are squeezed.

Inside this module a URL is "byte text": a str whose code points are bytes.
"""

import re
import unicodedata
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import idna

from secondlook.core.subject import UrlSubject
from secondlook.core.url.address import ends_in_number, host_text, parse_ipv4, parse_ipv6
from secondlook.core.url.expression import Suffixes, expressions

MAX_URL_CHARS = 65_536  # of the URL as given, and of its canonical form
MAX_HOST_CHARS = 253  # what DNS can carry
MAX_TARGET_CHARS = 65_000  # of path and query, leaving room for scheme and host
MAX_RAW_HOST_CHARS = 4_096  # before decoding; the tail is kept, as it names the owner
MAX_UNESCAPE_ROUNDS = 32

TOO_LONG = "the URL is too long"
TOO_MANY_ESCAPES = "the URL is escaped too many times"
NO_HOST = "the URL names no host"
HOST_TOO_LONG = "the host name is too long"
BAD_IPV4 = "the host looks like an IPv4 address but is none"
BAD_IPV6 = "the host looks like an IPv6 address but is none"
BAD_IDN = "the international host name is impossible"
BAD_HOST = "the host name holds a forbidden character"
BAD_PORT = "the port is not a number up to 65535"

WEB_PORTS = {"http": 80, "https": 443}
_SPECIAL = frozenset(("http", "https", "ws", "wss", "ftp"))
_CLEAN = re.compile(
    r"(https?)://([a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.[a-z][a-z0-9-]*"
    r"|(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?![/:?]|\Z)|(?=[/:?]|\Z))){4})"
    r"(?::(?:[0-9]{1,4}|[1-5][0-9]{4}))?"
    r"(/[!$&-;=@-\[\]-~]*)?(\?[!$&-\[\]-~]*)?",
    re.ASCII,
)
_CLEAN_HOST = re.compile(r"(?:[a-z0-9_-]+\.)*[a-z_-][a-z0-9_-]*", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):([/\\]*)", re.ASCII)
_ESCAPED_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*%(?:25)*3[aA]", re.ASCII)
_PORT_FOLLOWS = re.compile(r"[0-9]+(?:[/?\\]|\Z)", re.ASCII)
_AUTHORITY_END = re.compile(r"[/?\\]")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})", re.ASCII)
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xff#%]")
_HOST_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xff#%/?@:\\\[\]]")
_HOST_DELIMITER = re.compile(r"[/?@:\\\[\]]")
_DOTS = re.compile(r"\.{2,}")
_SLASHES = re.compile(r"/{2,}")
_DELETED = {9: None, 10: None, 13: None}
_TRIMMED = "".join(map(chr, range(0x21)))
_MAX_PORT = 65_535


class CanonicalUrl(NamedTuple):
    """A URL in canonical form, without fragment, port and credentials; `path` includes the query.

    `problem` is why the URL is malformed. Without any host, `host` is empty and `path` the escaped text.
    """

    scheme: str
    host: str
    path: str
    problem: str | None

    @property
    def text(self) -> str:
        """The canonical URL."""
        return f"{self.scheme}://{self.host}{self.path}" if self.host else self.path


def origin_text(scheme: str, host: str, port: int | None) -> str:
    """Write how the URL of a request begins.

    An international name stands in the form that is looked up (`xn--…`): another may look like a known one.
    """
    if ":" in host:
        host = f"[{host}]"
    elif not host.isascii():
        host = canonical_host(host)[0]
    at = "" if port is None or port == WEB_PORTS.get(scheme) else f":{port}"
    return f"{scheme}://{host}{at}"


def canonicalize(raw: str | bytes) -> CanonicalUrl:
    """Bring a URL as somebody wrote it, with or without scheme, into canonical form. Never raise."""
    text = raw if isinstance(raw, str) else raw.decode("latin-1")
    clean = _CLEAN.fullmatch(text)
    if clean is not None and len(text) < MAX_TARGET_CHARS:
        scheme, host, path, query = clean.groups()
        if path is None:
            path = "/"
        if "//" not in path and "/." not in path and len(host) <= MAX_HOST_CHARS:
            return CanonicalUrl(scheme, host, path + query if query else path, None)
    return _from_text(_byte_text(raw))


def url_subject(raw: str | bytes, suffixes: Suffixes) -> UrlSubject:
    """Make the subject of a URL as somebody wrote it, with or without scheme. Never raise.

    A malformed URL has `problem` set and is still worth checking: what is known of its host and
    its (cut) path is there. Without any host the exact expression is the escaped text.
    """
    return _subject(canonicalize(raw), suffixes)


def url_subject_from_parts(scheme: str, host: str, path: str | bytes, suffixes: Suffixes) -> UrlSubject:
    """Make the subject of a request from what the proxy will really use. Never raise.

    `host` is the name or address to be connected to (no port), `path` the request target sent to it. Nothing
    in the one can spill into the other: a path that begins with `//` names no host, an `@` or `/` in a host
    is a fault. A raw `#`, which no client may send and which servers read in both ways, is checked both as
    part of the path and as its end.
    """
    target = path if isinstance(path, str) else path.decode("latin-1")
    clean = _CLEAN.fullmatch(f"{scheme}://{host}{target}")
    if (
        clean is not None
        and clean[2] == host
        and target[:1] == "/"  # `:80/x` would be read as a port
        and len(host) <= MAX_HOST_CHARS
        and len(target) < MAX_TARGET_CHARS
    ):
        bare = clean[3]
        if bare is not None and "//" not in bare and "/." not in bare:
            return _subject(CanonicalUrl(scheme, host, target, None), suffixes)
    text = _byte_text(path).translate(_DELETED)
    name, problem = canonical_host(f"[{host}]" if ":" in host and host[:1] != "[" else host)
    whole = _subject(_request(scheme, name, text, problem), suffixes)
    end = text.find("#")
    if end < 0 or not name:
        return whole
    cut = _subject(_request(scheme, name, text[:end], problem), suffixes)
    forms = dict(zip(whole.expressions + cut.expressions, whole.hashes + cut.hashes, strict=True))
    return UrlSubject(whole.canonical, name, tuple(forms), tuple(forms.values()), whole.problem)


def _subject(url: CanonicalUrl, suffixes: Suffixes) -> UrlSubject:
    scheme, host, path, problem = url
    if not host:
        return UrlSubject(path, "", (path,), (sha256(path.encode()).digest(),), problem)
    forms = expressions(host, path, suffixes)
    return UrlSubject(
        f"{scheme}://{host}{path}",
        host,
        forms,
        tuple([sha256(form.encode()).digest() for form in forms]),
        problem,
    )


def _from_text(text: str) -> CanonicalUrl:
    text = text.translate(_DELETED).strip(_TRIMMED)
    end = text.find("#")
    if end >= 0:
        text = text[:end]
    scheme, rest = _cut_scheme(text)
    if rest is None and _ESCAPED_SCHEME.match(text):
        scheme, rest = _cut_scheme(_unescape(text)[0])
    if rest is None:
        return _hostless(text)
    found = _AUTHORITY_END.search(rest)
    start = len(rest) if found is None else found.start()
    authority, target = rest[:start], rest[start:]
    authority = authority[authority.rfind("@") + 1 :]
    authority, port_problem = _cut_port(authority)
    name, problem = _host(authority)
    if not name:
        return _hostless(text)
    if len(text) > MAX_URL_CHARS:
        problem = problem or TOO_LONG
    return _request(scheme, name, target, problem or port_problem)


def _request(scheme: str, host: str, target: str, problem: str | None) -> CanonicalUrl:
    if not host:
        return _hostless(f"{scheme}://{target}")
    if len(target) > MAX_TARGET_CHARS:
        target = target[:MAX_TARGET_CHARS].partition("?")[0]
        problem = problem or TOO_LONG
    raw_path, mark, raw_query = target.partition("?")
    path, whole = _unescape(raw_path.replace("\\", "/"))
    query, whole_query = _unescape(raw_query)
    if not whole:  # what stands before the first leftover escape is final; the rest would change for ever
        path, mark, query = path[: path.find("%")], "", ""
        problem = problem or TOO_MANY_ESCAPES
    elif not whole_query:
        query = query[: query.find("%")]
        problem = problem or TOO_MANY_ESCAPES
    path = _UNSAFE.sub(_escape, _resolve(path))
    # what was escaped is no delimiter, and must not look like one when the text is read again
    if "?" in path and path.partition("?")[0].endswith(("/.", "/..")):
        path = path.replace("?", "%3F")
    text = path + mark + _UNSAFE.sub(_escape, query)
    if "\\" in text:
        bare, mark, query = text.partition("?")
        text = bare.replace("\\", "%5C") + mark + query
    if len(text) > MAX_TARGET_CHARS:
        text = text[:MAX_TARGET_CHARS].partition("?")[0]
        partial = text.rfind("%", -2)
        text = (text if partial < 0 else text[:partial]).rstrip(".")
        problem = problem or TOO_LONG
    return CanonicalUrl(scheme, host, text, problem)


def _hostless(text: str) -> CanonicalUrl:
    text = _UNSAFE.sub(_escape, _unescape(text[:MAX_URL_CHARS])[0])[:MAX_URL_CHARS]
    return CanonicalUrl("", "", text, NO_HOST)


def _byte_text(raw: str | bytes) -> str:
    if isinstance(raw, bytes):
        return raw.decode("latin-1")
    if raw.isascii():
        return raw
    try:
        return raw.encode("utf-8", "surrogateescape").decode("latin-1")
    except UnicodeEncodeError:
        return raw.encode("utf-8", "replace").decode("latin-1")


def _cut_scheme(text: str) -> tuple[str, str | None]:
    """Return the scheme and what follows its `//`; None when no authority can follow."""
    found = _SCHEME.match(text)
    if found is None:
        if text[:2] == "//":
            return "http", text[2:]
        return "http", None if _ESCAPED_SCHEME.match(text) else text
    scheme, slashes = found[1].lower(), found[2]
    if scheme in _SPECIAL:
        return scheme, None if len(slashes) > 2 else text[found.end() :]  # noqa: PLR2004
    if slashes[:2] == "//":
        return scheme, text[found.end(1) + 3 :]
    if _PORT_FOLLOWS.match(text, found.end(1) + 1):
        return "http", text
    return scheme, None


def _cut_port(authority: str) -> tuple[str, str | None]:
    if authority[:1] == "[":
        host, bracket, port = authority.rpartition("]")
        if not bracket:
            return authority, None
        host, port = host + bracket, port[1:] if port[:1] == ":" else port and "x"
    elif authority.count(":") > 1 and parse_ipv6(authority) is not None:
        return f"[{authority}]", None
    else:
        host, _, port = authority.partition(":")
    if not port or (len(port) < 100 and port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):  # noqa: PLR2004
        return host, None
    return host, BAD_PORT


def canonical_host(text: str) -> tuple[str, str | None]:
    """Bring a host (no port) into its normal form. Return it and its problem, if any. Never raise."""
    return _host(_byte_text(text))


def host_filter(text: str) -> str:
    """Bring a host, or `*.host`, as people read and write it into the form that events hold."""
    wild, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    return wild + (name.lower() if name.isascii() else canonical_host(name)[0])


@lru_cache(maxsize=8_192)
def _host(text: str) -> tuple[str, str | None]:
    if len(text) <= MAX_HOST_CHARS and _CLEAN_HOST.fullmatch(text):
        return text, None
    problem = None
    if len(text) > MAX_RAW_HOST_CHARS:
        text, problem = text[-MAX_RAW_HOST_CHARS:], HOST_TOO_LONG
    text, whole = _unescape(text)
    if not whole:
        problem = problem or TOO_MANY_ESCAPES
    if not text.isascii():
        text, idn_problem = _to_ascii(text)
        problem = problem or idn_problem
    text = _DOTS.sub(".", text.encode("latin-1").lower().decode("latin-1")).strip(".")
    address, address_problem = _address(text)
    if address is not None:
        return address, problem
    problem = problem or address_problem
    if _HOST_DELIMITER.search(text):
        problem = problem or BAD_HOST
    text = _HOST_UNSAFE.sub(_escape, text)
    if len(text) > MAX_HOST_CHARS:
        problem = problem or HOST_TOO_LONG
        text = text[-MAX_HOST_CHARS:]
        text = text.partition(".")[2] or text.replace("%", "")
    return text, problem


def _address(text: str) -> tuple[str | None, str | None]:
    """Return the normal form of a host that is an address, or what is wrong with one that looks like it."""
    if ":" in text:
        found = parse_ipv6(text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text)
        return (None, BAD_IPV6) if found is None else (host_text(found), None)
    quad = text.partition(" ")[0] if " " in text else text  # inet_aton stops reading at a blank
    found = parse_ipv4(quad)
    if found is not None:
        return host_text(found), None
    return None, BAD_IPV4 if ends_in_number(quad) else None


def _to_ascii(text: str) -> tuple[str, str | None]:
    """Map an international host to Punycode; bytes that are no UTF-8 stay as they are, to be escaped."""
    try:
        name = text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text, None
    problem = None
    try:
        name = idna.uts46_remap(name, std3_rules=False)
    except idna.IDNAError:
        name = unicodedata.normalize("NFC", name.lower())
        problem = BAD_IDN
    if "%" in name:  # the mapping may have brought an escape together; no such name can be asked for
        name, problem = name.replace("%", ""), BAD_IDN
    labels = name.split(".")
    if any(len(label) > MAX_HOST_CHARS for label in labels):  # the encoder's time grows with the square
        return name.encode("utf-8").decode("latin-1"), problem or HOST_TOO_LONG
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in labels
    ), problem


def _unescape(text: str) -> tuple[str, bool]:
    """Percent-decode until nothing changes; False when that took more rounds than we grant."""
    for _ in range(MAX_UNESCAPE_ROUNDS):
        if "%" not in text:
            return text, True
        decoded = _ESCAPE.sub(_decode, text)
        if decoded == text:
            return text, True
        text = decoded
    return text, _ESCAPE.search(text) is None


def _decode(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def _escape(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _resolve(path: str) -> str:
    """Make a path absolute, without dot segments and doubled slashes."""
    if path[:1] != "/":
        path = "/" + path
    if "/." in path:
        kept: list[str] = []
        segments = path.split("/")[1:]
        for segment in segments:
            if segment == "..":
                if kept:
                    kept.pop()
            elif segment != ".":
                kept.append(segment)
        if segments[-1] in {".", ".."}:
            kept.append("")
        path = "/" + "/".join(kept)
    return _SLASHES.sub("/", path) if "//" in path else path
