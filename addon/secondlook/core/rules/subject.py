"""What an operator may write as the subject of a rule (contract, `allow SUBJECT`).

| written | meaning | scope |
|---|---|---|
| `example.com` | the host and its subdomains | domain |
| `=example.com` | the host alone | host |
| `http://example.com/a/` | every URL that begins so | prefix |
| `http://example.com/a?b` | exactly this URL, in canonical form | url |
| `/re/` | regular expression on the canonical form | regex |
| 64 hexadecimal digits | a file by its SHA-256 | sha256 |

Scheme and port may be written and take no part. It is the canonical form whose end counts, so
`http://example.com` is the whole host too.

What would be read as something narrower or wider than its writer meant is refused with what to write instead:
a network (`10.0.0.0/8` is a path on a host), a star, the beginning of an address (`10.9.8` is 10.9.0.8), the
suffix of a registry (`com` and all that is below it), a digest that is no SHA-256 (an MD5 is a word like any
host). A star in a URL is written `%2A`.
"""

import re
from typing import Final

from secondlook.core.digest import is_meant_as_digest
from secondlook.core.rules.regex import RegexError, check_regex
from secondlook.core.rules.rule import Scope
from secondlook.core.url.address import network_in
from secondlook.core.url.canonical import canonicalize
from secondlook.core.url.expression import Suffixes

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_KIND_OF_DIGEST: Final = re.compile(r"(?:sha-?\d+|md5):", re.ASCII | re.IGNORECASE)
_NOT_IN_HOST: Final = re.compile(r"[\s/?#@]")
_PART_OF_ADDRESS: Final = re.compile(r"[0-9]+(?:\.[0-9]+){0,2}\.?", re.ASCII)


class RuleSubjectError(ValueError):
    """A text that no rule can be about; the message is why, and what to write instead."""


def parse_subject(text: str, suffixes: Suffixes) -> tuple[Scope, str]:
    """Scope and normal form of a rule's subject. Raise RuleSubjectError."""
    text = text.strip()
    if not text:
        raise RuleSubjectError("a rule needs a subject: a host, a URL, /a regular expression/ or a SHA-256")
    if _SHA256.fullmatch(text):
        return Scope.SHA256, text.lower()
    if is_meant_as_digest(_KIND_OF_DIGEST.sub("", text, count=1)):
        raise RuleSubjectError(
            f"a file is named by its SHA-256, 64 hexadecimal digits and nothing else: not {text[:200]!r}"
        )
    if len(text) > 2 and text[0] == text[-1] == "/" and text[1] != "/":  # noqa: PLR2004 (both slashes)
        try:
            check_regex(text[1:-1])
        except RegexError as error:
            raise RuleSubjectError(f"{error}: {text[:200]}") from None
        return Scope.REGEX, text[1:-1]
    if text[0] == "=":
        return Scope.HOST, _host(text[1:].strip())
    network = network_in(text)
    if network is not None:
        raise RuleSubjectError(_about_network(*network.split("/")))
    if "/" in text or "?" in text:
        return _url(text)
    host = _host(text)
    if suffixes.is_registry(host):
        raise RuleSubjectError(
            f"{host} is the suffix of a registry, and every site below it would be meant: write ={host} for "
            f"the host alone, or /^https?://[^/]*\\.{re.escape(host)}[/]/ for all of them"
        )
    return Scope.DOMAIN, host


def _about_network(start: str, length: str) -> str:
    """Return what to write instead of a network."""
    example = ""
    octets = start.split(".")
    if len(octets) == 4 and length in {"8", "16", "24"}:  # noqa: PLR2004 - at the border of a number
        kept = "".join(rf"{octet}\." for octet in octets[: int(length) // 8])
        example = f", such as /^https?://{kept}[0-9.]+[/]/"
    return (
        f"a rule cannot be about a network: {start}/{length}; write each address, or a regular expression"
        f"{example} (for this URL: http://{start}/{length})"
    )


def subject_of(url: str) -> str:
    """Write a canonical URL as the subject of a rule about it."""
    return url.replace("*", "%2A")


def _host(text: str) -> str:
    if "*" in text or "*" in (host := _in_canonical_form(text)):
        raise RuleSubjectError(
            f"write a host without *: example.com means its subdomains too, not {text[:200]!r}"
        )
    if host.startswith("="):  # what a superscript one becomes, and what a rule of one host begins with
        raise RuleSubjectError(f"not a host: {text[:200]!r}")
    if _PART_OF_ADDRESS.fullmatch(text):
        raise RuleSubjectError(f"an address has four numbers: {text[:200]!r} would be {host}")
    return host


def _in_canonical_form(host: str) -> str:
    if _NOT_IN_HOST.search(host):
        raise RuleSubjectError(f"not a host: {host[:200]!r}")
    return _canonical(f"http://{host}/", host)[1]


def _url(text: str) -> tuple[Scope, str]:
    if "*" in text.partition("#")[0]:
        raise RuleSubjectError(
            f"a star stands for nothing here: a URL that ends in / covers everything below it, and the "
            f"character itself is written %2A, not {text[:200]!r}"
        )
    canonical, _ = _canonical(text, text)
    return (Scope.PREFIX if canonical.endswith("/") and "?" not in canonical else Scope.URL), canonical


def _canonical(url: str, text: str) -> tuple[str, str]:
    """Canonical form and host; `text` is what was written."""
    canonical = canonicalize(url)
    if canonical.problem is not None:
        raise RuleSubjectError(f"cannot make a rule of {text[:200]!r}: {canonical.problem}")
    return canonical.text, canonical.host
