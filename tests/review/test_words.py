"""Words for people: what a filter gives for every kind of value, and what an event is called and explained by."""

import pytest

from secondlook.core.event import EventKind
from secondlook.core.verdict import Action, Stage
from secondlook.review import words


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("block", "blocked"), ("late_verdict", "late verdict"), ("some_new_word", "some new word")],
)
def test_a_stored_word_in_plain_words(value, text):
    assert words.plain(value) == text


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"url": "https://h.example/a/b?c=/d"}, ("h.example", "/a/b?c=/d", "")),
        ({"url": "http://ann:pw@h.example:8000/"}, ("h.example:8000", "/", "http")),
        ({"url": "https://[::1]/x"}, ("[::1]", "/x", "")),
        ({"url": "https://h.example/get?id=7", "filename": "setup.exe"}, ("h.example", "/get?id=7", "setup.exe")),
        ({"url": "https://h.example/setup.exe", "filename": "setup.exe"}, ("h.example", "/setup.exe", "")),
        ({"url": "https://h.example/setup.exe", "subject": "file"}, ("h.example", "/setup.exe", "file")),
        ({"url": "http://xn--bcher-kva.example:81/"}, ("xn--bcher-kva.example:81", "/", "http", "bücher.example")),
        ({"host": "xn--80ak6aa92e.com"}, ("xn--80ak6aa92e.com", "", "")),  # it would look like another
        ({"host": "h.example"}, ("h.example", "", "")),
        ({"sha256": "07" * 32}, ("07" * 32, "", "")),
        ({"kind": "server", "server": "own", "host": "h.example"}, ("own", "", "")),
        ({}, ("(not kept: privacy level)", "", "")),
    ],
)  # fmt: skip
def test_of_an_address_the_host_stands_first(record, shown):
    found = words.address(record)
    assert (found.host, found.path, found.note) == shown[:3]
    assert found.letters == (shown[3] if len(shown) > 3 else "")


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("opened: refused", "stopped answering: refused"),
        ("closed: answers again", "answers again"),
        ("slowed: status 429", "asked to be asked less often: status 429"),
        ("the location changed: at home", "the location changed: at home"),
    ],
)
def test_what_became_of_a_server_is_said_in_plain_words(detail, shown):
    event = {"kind": "server", "server": "office", "detail": detail}
    assert words.why(event) == shown
    assert words.sentence(event) == f"{shown[0].upper()}{shown[1:]}."
    assert words.detail_of({"kind": "error", "detail": detail}) == detail


@pytest.mark.parametrize("limit", [4, 10, 60])
@pytest.mark.parametrize("extra", [0, 1, 500])
def test_a_text_is_cut_in_the_middle_to_its_limit_and_not_before(limit, extra):
    text = "".join(chr(97 + number % 26) for number in range(limit + extra))
    shown = words.shorten(text, limit)
    assert len(shown) == limit
    assert (shown == text) is (extra == 0)
    if extra:
        head, tail = shown.split("…")
        assert text.startswith(head)
        assert text.endswith(tail)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 40, "1.0 TiB"),
        (1 << 50, "1024.0 TiB"),
    ],
)
def test_a_number_of_bytes(value, text):
    assert words.size(value) == text


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"filename": "a.exe", "url": "https://a.example/"}, "a.exe"),
        ({"url": "https://a.example/", "host": "a.example"}, "https://a.example/"),
        ({"kind": "update", "list": "mw-8b", "url": "https://a.example/"}, "mw-8b"),
        ({"kind": "update", "server": "s1"}, "s1"),
        ({"detail": "the disk is full"}, "the disk is full"),
        ({}, "(not kept: privacy level)"),
    ],
)
def test_what_a_record_is_about(record, name):
    assert words.subject(record) == name


@pytest.mark.parametrize("stage", [None, *Stage, "a stage of tomorrow"])
@pytest.mark.parametrize("decision", [None, *Action])
@pytest.mark.parametrize("asked", [True, False])
def test_every_decision_of_every_stage_is_a_whole_sentence(stage, decision, asked):
    text = words.sentence({"stage": stage, "decision": decision}, asked=asked)
    assert text[0].isupper()
    assert text.endswith((".", "?"))
    assert "{" not in text


@pytest.mark.parametrize(
    ("decision", "more"), [("allow", ""), ("block", " What no list knows is blocked here.")]
)
def test_what_no_list_knows_is_not_said_to_be_on_one(decision, more):
    event = {"decision": decision, "verdict": "unknown", "stage": "pattern", "server": "s1"}
    assert (
        words.sentence(event) == f"It stands on no list: the local ones hold all that the server has.{more}"
    )
    assert words.sentence({**event, "stage": "query"}) == f"S1 was asked: nothing is known against it.{more}"
    listed = {"verdict": "suspicious", "list": "mw-s-8b", "threat": "malware"}
    assert words.sentence(event | listed) == "It stands on the list mw-s-8b, which names suspected malware."


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_has_a_title(kind):
    title = words.headline({"kind": kind, "host": "a.example", "list": "mw-8b"})
    assert title[0].isupper()
    assert "_" not in title


def test_rules_for_an_event_begin_with_the_narrowest_and_turn_what_was_decided():
    file = {
        "subject": "file", "sha256": "ab" * 32, "url": "https://a.example/b/", "host": "a.example",
        "decision": "block", "stage": "pattern",
    }  # fmt: skip
    assert [choice["subject"] for choice in words.choices(file)] == [
        "ab" * 32, "https://a.example/b/", "a.example",
    ]  # fmt: skip
    assert words.turn(file) == ("allow", "ab" * 32)
    assert words.turn({**file, "subject": "url", "decision": "allow"}) == ("block", "https://a.example/b/")


@pytest.mark.parametrize(
    "changes", [{"decision": None}, {"host": None}, *({"stage": s} for s in words.UNLIFTED)]
)
def test_where_no_rule_can_turn_a_decision_none_is_offered(changes):
    event = {"decision": "block", "stage": "pattern", "host": "a.example"}
    assert words.turn(event) == ("allow", "a.example")
    assert words.turn(event | changes) is None


def test_lists_are_called_what_people_call_them():
    event = {"kind": "blocked", "stage": "pattern", "list": "mw-8b", "threat": "malware", "decision": "block"}
    titles = {"mw-8b": "URLhaus (malware)"}
    assert words.why(event, titles) == "malware · pattern: URLhaus (malware)"
    assert "the list URLhaus (malware)," in words.sentence(event, titles=titles)
    assert words.why({**event, "list": "gone-8b"}, titles) == "malware · pattern (gone-8b)"
