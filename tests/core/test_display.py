"""Hosts and messages as people read them."""

import pytest

from secondlook.core.display import as_sentence, shown_host


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a.test/b", "a.test"),
        ("http://user:pw@a.test:8080/b", "a.test"),
        ("http://xn--mnchen-3ya.test/", "münchen.test (xn--mnchen-3ya.test)"),
        ("http://xn--a.test/", "xn--a.test"),
        ("a.test", "a.test"),
        ("http://[::1", "http://[::1"),
    ],
)
def test_a_host_is_shown_in_both_forms_where_it_has_two(url, shown):
    assert shown_host(url) == shown


def test_a_hostile_host_is_cut_and_harmless():
    assert len(shown_host("http://" + "a" * 500 + ".test/")) <= 81
    assert "\u202e" not in shown_host("http://a\u202e.test/")


@pytest.mark.parametrize(
    ("message", "sentence"), [("it broke", "It broke."), ("It broke.", "It broke."), ("", ".")]
)
def test_a_message_is_a_sentence(message, sentence):
    assert as_sentence(message) == sentence
