"""Regular expressions in linear time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.rules.regex import MAX_CHARS, RegexError, RegexSet, check_regex


@pytest.mark.parametrize(
    "pattern", [r"ads\.", "^https?://[a-z]+\\.test/", "(?i)TRACK", "x" * MAX_CHARS, "", r"\bfoo\b"]
)
def test_usable(pattern):
    check_regex(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "a{1001}",
        r"(a)\1",
        "(?=a)",
        "[z-a]",
        "x" * (MAX_CHARS + 1),
        "((a{100}){100}){100}",
        "\ud800",
        "*",
    ],
)
def test_refused(pattern):
    with pytest.raises(RegexError):
        check_regex(pattern)


def test_a_set_names_all_that_occur():
    patterns = ["ads", r"\.test/$", "^http://a", "never"]
    assert sorted(RegexSet(patterns).search("http://ads.a.test/")) == [0, 1, 2]
    assert RegexSet(patterns).search("nothing") == []


def test_what_freezes_a_backtracking_engine_is_answered():
    # (a+)+$ takes Python's own engine hours on this; the suite's timeout is the stopwatch
    assert RegexSet(["(a+)+$", "(a|a)*b", "(.*)*x"]).search("a" * 60_000 + "!") == []


def test_hundreds_of_large_expressions_still_match():
    patterns = [f"host{number}/.{{0,200}}(path|query){{1,20}}end{number}!" for number in range(300)]
    for pattern in patterns:
        check_regex(pattern)
    found = RegexSet(patterns)
    for number in (0, 150, 299):
        assert found.search(f"http://host{number}/path" + "path" * 3 + f"end{number}!") == [number]


@given(st.text(max_size=40))
def test_any_text_is_refused_or_usable(pattern):
    try:
        check_regex(pattern)
    except RegexError:
        return
    RegexSet([pattern, "a"]).search("http://a.test/")
