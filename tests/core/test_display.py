"""Hosts and messages as people read them."""

import idna
import pytest

from secondlook.core.display import as_sentence, readable, readable_host, shown_host


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


@pytest.mark.parametrize(
    "name",
    [
        "bücher.example",
        "россия.рф",
        "中文abc.example",
        "ひらカタカナー漢々.example",
        "한국kr.example",
        "προϊόν.example",
        "فارسی.example",
        "हिन्दी.example",
    ],
)
def test_a_name_of_one_writing_is_shown_in_its_own_letters(name):
    assert readable_host(idna.encode(name).decode()) == name


@pytest.mark.parametrize(
    "name",
    [
        "раураl.example",  # all but the last are Cyrillic
        "аррӏе.com",  # all of them are
        "νον.com",  # Greek
        "www.googlе.com",
        "bücher.аррӏе.com",
    ],
)
def test_a_name_that_looks_like_another_is_not(name):
    host = idna.encode(name).decode()
    assert readable_host(host) is None
    assert shown_host(f"http://{host}/") == host


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("=xn--bcher-kva.example", "bücher.example"),
        ("https://a.xn--bcher-kva.example/xn--80ak6aa92e", "a.bücher.example"),
        ("xn--80ak6aa92e.com", ""),
        ("h.example", ""),
        (None, ""),
    ],
)
def test_an_international_name_is_read_out_of_a_rule(text, name):
    assert readable(text) == name
