"""What is typed into the forms, as text of the file: only what differs is written, a group may give up its own."""

import pytest

from secondlook.run.reload import settings_of
from secondlook.run.settings_change import change_of, feed_of
from secondlook.run.supervisor.plan import Invocation

TEXT = """\
clients:
  groups:
    - name: children
      networks: [10.0.0.7/32]
      policy: {level: high, unverifiable: {download: block}}
"""


def changed(what, text=TEXT, **values):
    settings = settings_of(Invocation("proxy.yaml"), text.encode())
    return change_of(what, text, settings, values)


def test_a_feed_is_written_without_what_is_usual():
    usual = {"threat": "malware", "risk": "dangerous", "format": "auto", "every": "1h", "licence": ""}
    assert feed_of({"name": "a", "url": "https://a.example/", **usual}) == {
        "name": "a",
        "url": "https://a.example/",
    }


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ({"level": ""}, "{level: null, unverifiable: {download: block}}"),
        ({"level": "high", "download": ""}, "{level: high, unverifiable: {download: null}}"),
        ({"page": "block"}, "{level: high, unverifiable: {download: block, page: block}}"),
    ],
)
def test_a_group_gives_up_or_gets_what_is_its_own(values, policy):
    change = changed("group", name="children", **values)
    assert f"      policy: {policy}\n" in change.text
    settings_of(Invocation("proxy.yaml"), change.text.encode())


def test_a_group_that_had_nothing_of_its_own_is_left_so():
    change = changed("group", name="children", page="", users="", level="medium")
    assert change.text == TEXT.replace("level: high", "level: medium")
    assert change.effect == "changes the group children"


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("", "out of force within moments, and kept"),
        (", guard: true", "No list is kept from naming its hosts any more."),
        (", format: yara", "Its rules are no longer looked for in downloads."),
    ],
)
def test_what_becomes_of_what_a_feed_brought_is_shown_where_it_is_switched_off(kind, end):
    text = f"feeds: [{{name: a, url: https://a.example/{kind}}}]\n"
    off = changed("switch-feed", text, name="a", enabled="false")
    assert off.warning is not None
    assert end in off.warning
    assert changed("switch-feed", off.text, name="a", enabled="true").warning is None


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ("", "nothing but your own rules and entries protects then"),
        (", {name: b, url: https://b.example/, enabled: false}", "nothing but your own"),
        (
            ", {name: b, builtin: test}, {name: c, url: https://c.example/, guard: true}",
            "nothing but your own",
        ),
        (", {name: b, url: https://b.example/}", None),
    ],
)
def test_the_last_feed_is_shown_to_be_the_last(others, told):
    text = f"feeds: [{{name: a, url: https://a.example/}}{others}]\n"
    warning = changed("switch-feed", text, name="a", enabled="false").warning
    assert ("It is the last feed" in warning) is bool(told)
    assert told is None or told in warning
    asked = f"{text}servers: {{network: {{url: 'https://ask.example'}}}}\n"
    warning = changed("switch-feed", asked, name="a", enabled="false").warning
    assert ("only the other servers" in warning) is bool(told)
