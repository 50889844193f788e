"""Lines of helpers: read into questions, answered in one line whatever the decision holds."""

from dataclasses import replace

import pytest

from proxykit.gatekeeper import UNKNOWN, listed
from secondlook.core.verdict import Action, SubjectClass
from secondlook.gateway.helper_lines import (
    UnreadableLineError,
    answer,
    cannot_tell,
    read_line,
)


def test_fields_are_unescaped_once():
    number, request = read_line(
        b"17 192.0.2.7 an%20na GET http://a.example/%2541?x%20y - iframe - http://b.example/"
    )
    assert number == b"17"
    assert (request.context.client, request.context.user) == ("192.0.2.7", "an na")
    assert request.context.url == "http://a.example/%41?x y"
    assert (request.asked.dest, request.asked.accept) == ("iframe", None)
    assert request.context.referrer == "http://b.example/"
    assert request.context.cls is SubjectClass.PAGE


def test_four_fields_are_enough_and_a_name_in_tls_is_checked_too():
    assert read_line(b"0 192.0.2.7 - GET http://a.example/").request.context.user is None
    assert read_line(b"0 192.0.2.7 - CONNECT a.example:443 b.example").request.names == ("b.example",)


@pytest.mark.parametrize(
    ("line", "number", "expected"),
    [
        (b"GET http://a.example/", b"", "a number at the beginning"),
        (b"1" * 21 + b" 192.0.2.7 - GET http://a.example/", b"", "a number at the beginning"),
        (b"", b"", "a number at the beginning"),
        (b"3 192.0.2.7 - GET", b"3", "4 to 8 fields"),
        (b"3 192.0.2.7 - GET http://a.example/ - - - - x", b"3", "4 to 8 fields"),
        (b"3 192.0.2.7 - - http://a.example/", b"3", "a method and a URL"),
        (b"3 secret.example - GET http://a.example/", b"3", "a client's IP address"),
    ],
)
def test_what_is_no_question_is_told_without_what_it_was(line, number, expected):
    with pytest.raises(UnreadableLineError, match=expected) as raised:
        read_line(line)
    assert raised.value.number == number
    assert "example" not in str(raised.value).replace("http://example.org/", "")


def test_answers():
    assert answer(b"7", UNKNOWN) == b"7 OK\n"
    assert answer(b"7", replace(UNKNOWN, action=Action.FLAG, event_id="01M8")) == b"7 OK log=01M8\n"
    refused = answer(b"7", replace(listed(), event_id="01M8"))
    assert refused.startswith(b'7 ERR message="It is reported')
    assert refused.endswith(b'" log=01M8 tag=secondlook secondlook=01M8\n')
    assert cannot_tell(b"7", 'say "a\nb" \\ é') == b"7 BH message=\"say 'a b' / ?\"\n"
    assert cannot_tell(b"", "x") == b'BH message="x"\n'
