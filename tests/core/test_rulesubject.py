"""What may be written as the subject of a rule."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secondlook.core.rule import Scope
from secondlook.core.rulesubject import RuleSubjectError, parse_subject

DIGEST = "291BC5421F1CD54D99AFCC55D166E2B9FE42447025895BF09DD41B2110A687DC"


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
    written = {Scope.REGEX: f"/{subject}/", Scope.HOST: f"={subject}"}.get(scope, subject)
    assert parse_subject(written) == (scope, subject)
