"""URLs, hosts and rules: what anybody may type, send or list."""

import json
from hashlib import sha256

from conftest import REPOSITORY
from fuzzkit import fuzz, mutated
from secondlook.core.rules.subject import RuleSubjectError, parse_subject
from secondlook.core.url.address import parse_ipv4, parse_ipv6
from secondlook.core.url.canonical import MAX_URL_CHARS, canonical_host, canonicalize, url_subject
from secondlook.suffix import load_suffixes

SUFFIXES = load_suffixes()
WPT = json.loads((REPOSITORY / "tests/data/url/wpt_urltestdata.json").read_text(encoding="utf-8"))
URLS = [each["input"].encode("utf-8", "surrogatepass") for each in WPT if isinstance(each, dict)]
RULES = [
    b"example.org",
    b"=example.org",
    b"https://example.org/a/",
    b"/^https?:..[a-z]+/",
    b"[2001:db8::1]",
    b"a" * 64,
    "bücher.example/ä?ß".encode(),
    b"",
]
MOST_EXPRESSIONS = 30  # five hosts by six paths (Safe Browsing v5)


@fuzz(raw=mutated(URLS))
def test_canonicalization(raw):
    """A canonical URL is ASCII, bounded, and its own canonical form; no input raises."""
    url = canonicalize(raw)
    if url.problem is None:
        assert url.text.isascii()
        assert len(url.text) <= MAX_URL_CHARS
        assert canonicalize(url.text) == url


@fuzz(raw=mutated(URLS))
def test_expressions(raw):
    """A URL has 1 to 30 different expressions, the exact one first, each hashed into its subject once."""
    subject = url_subject(raw, SUFFIXES)
    assert 1 <= len(subject.expressions) <= MOST_EXPRESSIONS
    assert len(set(subject.expressions)) == len(subject.expressions)
    exact = canonicalize(raw)
    assert subject.expressions[0] == exact.host + exact.path
    assert [sha256(each.encode()).digest() for each in subject.expressions] == list(subject.hashes)


@fuzz(
    text=mutated(
        [
            b"127.0.0.1",
            b"0x7f.1",
            b"::ffff:127.0.0.1",
            b"[fe80::1%25eth0]",
            b"www.example.com",
            b"xn--nxasmq6b",
        ]
    )
)
def test_hosts_and_addresses(text):
    """A host that is accepted is its own canonical form, and never an address in disguise."""
    host, problem = canonical_host(text.decode("latin-1"))
    if problem is None:
        assert canonical_host(host) == (host, None)
        if parse_ipv4(host) is None and ":" not in host:
            assert not host.replace(".", "").isdigit()
    parse_ipv6(text.decode("latin-1"))


@fuzz(text=mutated(RULES))
def test_rule_subjects(text):
    """What is taken for a rule reads back as the same rule; what is not is refused with words."""
    try:
        scope, subject = parse_subject(text.decode("utf-8", "replace"), SUFFIXES)
    except RuleSubjectError as error:
        assert str(error)
        return
    assert subject
    assert scope
