"""Turning the texts of a feed into entries, by one set of rules for every format.

A text that names less than a host, a URL or a file never becomes an entry for more: bare suffixes and shared
platforms are refused, a URL stays a URL, credentials without a scheme are an e-mail address.
"""

import re
from hashlib import sha256

from secondlook.core.digest import EMPTY_FILE
from secondlook.core.url.address import AddressClass, classify, parse_address
from secondlook.core.url.canonical import canonical_host, canonicalize
from secondlook.core.url.expression import Suffixes, listing_expression
from secondlook.feeds.entries.entry import Entry, EntryKind, RejectClass

MAX_HOST_CHARS = 253

# the last label is of letters alone or Punycode: nothing else was ever a top-level domain
CLEAN_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+(?:[a-z]{1,63}|xn--[a-z0-9-]{1,59})", re.ASCII)
_DEFANGED = re.compile(
    r"[\[({]\s*(?:\.|dot)\s*[\])}]|\[:\]|\[/\]|\[://\]|^\s*h(?:xx|\*\*)ps?\b", re.IGNORECASE
)
WEB_URL = re.compile(r"https?://[^\s\[\](){}\x00]+")  # whole, and not defanged
_SUSPECT = re.compile(r"[\[({]|h(?:xx|\*\*)p", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://", re.ASCII)
_WEB_SCHEME = re.compile(r"(?:https?|ftp|wss?|hxxps?)://", re.ASCII | re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)
ANY_DIGEST = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32}", re.ASCII)
_DIGEST_KINDS = {64: EntryKind.SHA256, 40: EntryKind.SHA1, 32: EntryKind.MD5}
EMPTY_DIGESTS = frozenset(EMPTY_FILE.values())
_LOCAL_ENDS = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")  # never on the internet
_LOCAL_NAMES = frozenset({
    "localhost", "local", "broadcasthost", "ip6-localhost", "ip6-loopback",
    "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts",
})  # fmt: skip
_CUT = re.compile(r"(?<=\S)[\t\r\n]+(?=.*\S)", re.DOTALL)
_FRAGMENT = re.compile(r"#.")
_BLANK = re.compile(r"[\s\x00]")
_PLAIN_NAME = re.compile(r"[a-z0-9_-]+|(?:[a-z0-9_-]+\.)+(?:[a-z]+|xn--[a-z0-9-]+)", re.ASCII)
_USUAL_PORTS = frozenset((":80", ":443"))
QUAD = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}", re.ASCII)
# a number, or less than four parts: more likely junk or the beginning of an address than a notation of one
_AMBIGUOUS_ADDRESS = re.compile(r"\.*[0-9]+(?:\.+[0-9]+){0,2}\.*|[0-9.]+\.", re.ASCII)
_MIXED_OCTETS = frozenset((0, 10, 100, 127, 168, 169, 172, 192, 198, 203, *range(224, 256)))  # not all public


class Maker:
    """Makes entries; `known_good`: the list allows and does not block.

    `min_confidence` (0 to 100) is the least that is taken where a format has a confidence; None: the
    format's own.
    """

    def __init__(
        self, suffixes: Suffixes, *, known_good: bool = False, min_confidence: int | None = None
    ) -> None:
        self.suffixes = suffixes
        self.known_good = known_good
        self._min_confidence = min_confidence

    def is_unsure(self, confidence: int, usual: int) -> bool:
        """Return whether a confidence is below what is wanted; `usual` is what the format's maker advises."""
        return confidence < (usual if self._min_confidence is None else self._min_confidence)

    def host(self, text: str, *, exception: bool = False, limited: bool = False) -> Entry | RejectClass:
        """Make the entry of a host (a name or an address) and its subdomains.

        `limited`: the feed meant only a part of it (a port, a fragment), which a shared platform
        must not pay for. The site of one tenant is its own, also where a wildcard makes it a suffix: nothing
        is looked up below one, so that its entry is for exactly that host.
        """
        if CLEAN_HOST.fullmatch(text):
            return self.name(text, exception=exception, limited=limited)
        if QUAD.fullmatch(text):
            return self.quad(text, exception=exception)
        return self._unusual_host(text, exception=exception, limited=limited)

    def _unusual_host(self, text: str, *, exception: bool, limited: bool) -> Entry | RejectClass:
        name = _normal_host(text)
        if isinstance(name, RejectClass):
            return name
        if name[-1:] == "]" or name[-1:].isdigit():
            return Entry(sha256(f"{name}/".encode()).digest(), name, EntryKind.HOST, exception)
        return self.name(name, exception=exception, limited=limited)

    def quad(self, text: str, *, exception: bool = False) -> Entry | RejectClass:
        """Make the entry of an IPv4 address that has the form of `QUAD`."""
        if int(text.partition(".")[0]) in _MIXED_OCTETS:
            return self._unusual_host(text, exception=exception, limited=False)
        return Entry(sha256(f"{text}/".encode()).digest(), text, EntryKind.HOST, exception)

    def name(self, text: str, *, exception: bool = False, limited: bool = False) -> Entry | RejectClass:
        """Make the entry of a host name that has the form of `CLEAN_HOST`; see `host`."""
        if len(text) > MAX_HOST_CHARS:
            return RejectClass.BAD_HOST
        if not exception:
            if text in _LOCAL_NAMES or text.endswith(_LOCAL_ENDS):
                return RejectClass.LOCAL
            suffixes = self.suffixes
            if suffixes.is_suffix(text) and not suffixes.is_tenant(text):
                return RejectClass.PUBLIC_SUFFIX
            if suffixes.is_platform(text) or (
                limited and suffixes.is_shared_platform(text) and not suffixes.is_tenant(text)
            ):
                return RejectClass.SHARED_PLATFORM
        return Entry(sha256(f"{text}/".encode()).digest(), text, EntryKind.HOST, exception)

    def url(self, text: str, *, exception: bool = False) -> Entry | RejectClass:
        """Make the entry of a URL, its exact expression; a site's root is the entry of its host."""
        # what is cut would join what stands on its two sides
        if not text.isprintable() and _CUT.search(text):
            return RejectClass.NOT_UNDERSTOOD
        url = canonicalize(text)
        host, path = url.host, url.path
        if url.problem is not None:
            return RejectClass.BAD_URL
        if path[-1:] == "?":
            path = listing_expression(path)
        if path == "/":
            return self.host(host, exception=exception, limited=_is_limited(text))
        if not CLEAN_HOST.fullmatch(host) and not _is_resolvable(host):
            return RejectClass.BAD_HOST
        listed = host + path
        digest = sha256(listed.encode()).digest()
        return Entry(digest, listed, EntryKind.URL, exception)

    def digest(self, text: str, *, exception: bool = False, size: int | None = None) -> Entry | RejectClass:
        """Make the entry of a file from a SHA-256, SHA-1 or MD5 in hex."""
        kind = _DIGEST_KINDS.get(len(text))
        if kind is None or not _HEX.fullmatch(text):
            return RejectClass.BAD_DIGEST
        text = text.lower()
        if text in EMPTY_DIGESTS:
            return RejectClass.EMPTY_FILE
        if text.count(text[0]) == len(text):
            return RejectClass.BAD_DIGEST  # all zeros and the like stand for "unknown"
        if kind is EntryKind.SHA256:
            return Entry(bytes.fromhex(text), text, kind, exception, size=size)
        if self.known_good:
            return RejectClass.WEAK_DIGEST
        return Entry(sha256(f"{kind.value}:{text}".encode()).digest(), text, kind, exception, size=size)

    def indicator(self, text: str, *, exception: bool = False) -> Entry | RejectClass:
        """Make the entry of a host, address, URL or `host/path` as people write them, defanged or not."""
        if WEB_URL.fullmatch(text):
            return self.url(text, exception=exception)
        if CLEAN_HOST.fullmatch(text):
            return self.host(text, exception=exception)
        text = refang(text.strip())
        if _SCHEME.match(text):
            if not _WEB_SCHEME.match(text):
                return RejectClass.OTHER_TYPE
            return self.url(text, exception=exception)
        if _BLANK.search(text):
            return RejectClass.NOT_UNDERSTOOD
        head = re.split(r"[/?#\\]", text, maxsplit=1)[0]
        if "@" in head:
            return RejectClass.OTHER_TYPE  # an e-mail address is not its domain
        if "*" in head:
            return RejectClass.PATTERN
        if len(head) != len(text):
            if "." not in head.partition(":")[0].strip(".") and not head.startswith("["):
                return RejectClass.NOT_UNDERSTOOD  # a path without a host
            return self.url(f"http://{text}", exception=exception)
        return self._host_and_port(head, exception=exception)

    def any(self, text: str) -> Entry | RejectClass:
        """Make the entry of a digest or of an indicator, whichever it is."""
        text = text.strip()
        return self.digest(text) if ANY_DIGEST.fullmatch(text) else self.indicator(text)

    def typed(self, kind: str, value: str) -> Entry | RejectClass:
        """Make the entry of a MISP attribute; composite types are `name|other`."""
        value = value.strip()
        head, _, tail = value.partition("|")
        match kind:
            case "domain" | "hostname" | "url":
                made = self.indicator(value)
            case "ip-dst":
                made = RejectClass.WIDE_RANGE if "/" in value else self.indicator(value)
            case "domain|ip":
                made = self.indicator(head)
            case "ip-dst|port" | "hostname|port":
                made = self.indicator(f"{head}:{tail}" if ":" not in head else head)
            case "sha256" | "sha1" | "md5":
                made = self.digest(value)
            case "filename|sha256" | "filename|sha1" | "filename|md5" | "malware-sample":
                made = self.digest(tail)
            case _:
                made = RejectClass.OTHER_TYPE
        return made

    def _host_and_port(self, text: str, *, exception: bool) -> Entry | RejectClass:
        if text.count(":") > 1:
            if parse_address(text) is None:
                return self.url(f"http://{text}", exception=exception)
            return self.host(text, exception=exception)
        host, _, port = text.partition(":")
        if port and not (port.isascii() and port.isdigit()):
            return RejectClass.NOT_UNDERSTOOD
        return self.host(host, exception=exception, limited=bool(port) and f":{port}" not in _USUAL_PORTS)


def refang(text: str) -> str:
    """Undo the defanging of a host or URL (`hxxp`, `[.]`, `(dot)`, `[:]`); other text is left alone."""
    if not _SUSPECT.search(text) or not _DEFANGED.search(text):
        return text
    text = re.sub(r"[\[({]\s*(?:\.|dot)\s*[\])}]", ".", text, flags=re.IGNORECASE)
    text = text.replace("[://]", "://").replace("[:]", ":").replace("[/]", "/")
    return re.sub(r"^\s*h(?:xx|\*\*)p", "http", text, flags=re.IGNORECASE)


def _is_limited(text: str) -> bool:
    """Return whether the text of a site's root names less than the site: a port, or what a fragment adds."""
    if _FRAGMENT.search(text):
        return True
    authority = _SCHEME.sub("", text, count=1).partition("/")[0]
    found = re.search(r":[0-9]+\Z", authority, re.ASCII)
    return found is not None and found[0] not in _USUAL_PORTS


def _normal_host(text: str) -> str | RejectClass:
    """Bring a host into its normal form; returns a name of two labels at least, or a public address."""
    name, problem = canonical_host(text)
    if problem is not None or not name:
        return RejectClass.BAD_HOST
    if name in _LOCAL_NAMES or name.endswith(_LOCAL_ENDS):
        return RejectClass.LOCAL
    address = parse_address(name)
    if address is not None:
        if name != text and _AMBIGUOUS_ADDRESS.fullmatch(text):
            return RejectClass.BAD_ADDRESS
        return name if classify(address) is AddressClass.PUBLIC else RejectClass.LOCAL
    if CLEAN_HOST.fullmatch(name):
        return name
    return RejectClass.BAD_HOST if "." in name else RejectClass.PUBLIC_SUFFIX


def _is_resolvable(host: str) -> bool:
    return _PLAIN_NAME.fullmatch(host) is not None or parse_address(host) is not None
