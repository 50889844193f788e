"""What may be written as the subject of a rule."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secondlook.core.rules import subject
from secondlook.core.rules.regex import RegexSet
from secondlook.core.rules.rule import Scope
from secondlook.core.rules.subject import RuleSubjectError, subject_of
from secondlook.suffix import load_suffixes

DIGEST = "291BC5421F1CD54D99AFCC55D166E2B9FE42447025895BF09DD41B2110A687DC"


def parse_subject(text: str) -> tuple[Scope, str]:
    return subject.parse_subject(text, load_suffixes())


@pytest.mark.parametrize(
    ("text", "scope", "subject"),
    [
        ("example.com", Scope.DOMAIN, "example.com"),
        (" Example.COM. ", Scope.DOMAIN, "example.com"),
        ("example.com:8080", Scope.DOMAIN, "example.com"),
        ("bücher.de", Scope.DOMAIN, "xn--bcher-kva.de"),
        ("localhost", Scope.DOMAIN, "localhost"),
        ("0x7f.1", Scope.DOMAIN, "127.0.0.1"),
        ("::1", Scope.DOMAIN, "[::1]"),
        ("[2001:DB8::0]:80", Scope.DOMAIN, "[2001:db8::]"),
        ("=example.com", Scope.HOST, "example.com"),
        ("= example.com", Scope.HOST, "example.com"),
        ("http://example.com/a/", Scope.PREFIX, "http://example.com/a/"),
        ("https://Example.com:8443/a/b/../", Scope.PREFIX, "https://example.com/a/"),
        ("example.com/", Scope.PREFIX, "http://example.com/"),
        ("http://example.com/a/#fragment/", Scope.PREFIX, "http://example.com/a/"),
        ("http://example.com/a", Scope.URL, "http://example.com/a"),
        ("http://example.com", Scope.PREFIX, "http://example.com/"),
        ("example.com/a?b=/", Scope.URL, "http://example.com/a?b=/"),
        ("http://u:p@example.com/%61", Scope.URL, "http://example.com/a"),
        (r"/ads\d+\./", Scope.REGEX, r"ads\d+\."),
        ("/a/", Scope.REGEX, "a"),
        (DIGEST, Scope.SHA256, DIGEST.lower()),
        ("printer", Scope.DOMAIN, "printer"),
        (DIGEST[:31], Scope.DOMAIN, DIGEST[:31].lower()),
        (f"={DIGEST[:32]}", Scope.HOST, DIGEST[:32].lower()),
        ("=com", Scope.HOST, "com"),
        ("github.io", Scope.DOMAIN, "github.io"),
        ("www.ck", Scope.DOMAIN, "www.ck"),
        ("x.compute-1.amazonaws.com", Scope.DOMAIN, "x.compute-1.amazonaws.com"),
        ("http://10.9.8.0/24", Scope.URL, "http://10.9.8.0/24"),
        ("f00d.de/5", Scope.URL, "http://f00d.de/5"),
        ("10.9.8.0/24/", Scope.PREFIX, "http://10.9.8.0/24/"),
        ("https://example.org/a/%2A", Scope.URL, "https://example.org/a/*"),
        ("http://example.com/a#*", Scope.URL, "http://example.com/a"),
    ],
)
def test_every_form_of_the_contract(text, scope, subject):
    assert parse_subject(text) == (scope, subject)
    assert parse_subject(f" {text}\n") == (scope, subject)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs a subject"),
        ("  ", "needs a subject"),
        ("*.example.com", r"without \*"),
        ("=http://example.com/", "not a host"),
        ("two words", "not a host"),
        ("=", "cannot make a rule"),
        ("/(/", "regular expression"),
        (f"/{'x' * 2000}/", "longer than"),
        ("http://", "names no host"),
        ("/a/b", "names no host"),
        ("1.2.3.4.5", "IPv4"),
        ("http://[::g]/", "IPv6"),
        ("http://example.com:99999/", "port"),
        ("10.9.8.0/24", r"about a network.*https\?://10\\\.9\\\.8"),
        ("10.0.0.0/8", "about a network"),
        ("10.0.0.0/9", "about a network"),
        ("10.0.0.0/255.0.0.0", "about a network"),
        ("10.1/16", "about a network"),
        ("2001:db8::/32", "about a network"),
        ("[2001:db8::]/32", "about a network"),
        ("10.9.8", "four numbers.*10.9.0.8"),
        ("=10.9.8.", "four numbers"),
        ("10", "four numbers"),
        ("https://example.org/a/*", "star"),
        ("https://example.org/a*b?c", "star"),
        ("example.org/?q=*", "star"),
        (DIGEST[:32], "SHA-256"),
        (DIGEST[:40].lower(), "SHA-256"),
        (DIGEST[:-1], "SHA-256"),
        (DIGEST + "00", "SHA-256"),
        (f"sha256:{DIGEST}", "nothing else"),
        (f"MD5:{DIGEST[:32]}", "nothing else"),
        ("com", "registry.*=com"),
        ("co.uk", "registry"),
        ("CO.UK.", "registry"),
        ("anything.ck", "registry"),
    ],
)
def test_what_says_nothing_is_refused_with_a_reason(text, words):
    with pytest.raises(RuleSubjectError, match=words):
        parse_subject(text)


@example("\u207c")  # a superscript = becomes one
@example("=%2a")
@given(st.text(max_size=60) | st.text("/=.:*?#[]@ae1%\\", max_size=20))
def test_any_text_is_refused_or_has_a_normal_form_that_stays(text):
    try:
        scope, subject = parse_subject(text)
    except RuleSubjectError:
        return
    urls = dict.fromkeys((Scope.URL, Scope.PREFIX), subject_of(subject))
    written = {Scope.REGEX: f"/{subject}/", Scope.HOST: f"={subject}"} | urls
    assert parse_subject(written.get(scope, subject)) == (scope, subject)


@pytest.mark.parametrize(
    ("text", "hit", "missed"),
    [
        ("10.9.8.0/24", "http://10.9.8.7/x", "http://10.9.80.7/"),
        ("172.16.0.0/16", "https://172.16.3.4/", "http://172.16.evil.example/"),
        ("co.uk", "http://shop.example.co.uk/", "http://example.co.ukx/"),
    ],
)
def test_what_is_advised_instead_does_what_was_meant(text, hit, missed):
    with pytest.raises(RuleSubjectError) as refusal:
        parse_subject(text)
    advised = next(word for word in str(refusal.value).split() if word.startswith("/^"))
    scope, regex = parse_subject(advised)
    assert scope is Scope.REGEX
    rules = RegexSet([regex])
    assert rules.search(hit)
    assert not rules.search(missed)
