"""The settings page: forms that keep what was typed, the difference, what is refused, and the same as JSON."""

import re
import signal
from html import unescape
from pathlib import Path

import pytest

from review.stage import SETTINGS, csrf

FEED = {"name": "mine", "url": "https://lists.example.org/x", "every": "2h"}


@pytest.fixture
def config(program):
    return Path(program.authority).parent / "proxy.yaml"


def send(client, path, what, **values):
    return client.post(f"/settings/{path}", data={"csrf": csrf(client), "what": what, **values})


def hidden(page):
    return dict(
        re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.partition("/settings/apply")[2])
    )


def test_what_the_file_says_is_shown(client):
    shown = client.get("/settings").text
    assert "urlhaus" in shown
    assert 'Switch on<span class="visually-hidden"> warnings</span>' in shown
    assert re.search(r'<option value="medium" selected>', shown)
    assert "children" in shown


def test_a_change_goes_from_the_form_by_its_difference_into_the_file(client, config, program, hangups):
    shown = send(client, "preview", "add-feed", **FEED).text
    assert '<span class="added">+  - name: mine</span>' in shown
    assert config.read_text() == SETTINGS
    fields = {name: unescape(value) for name, value in hidden(shown).items()}
    assert len(fields.pop("digest")) == 64
    answer = client.post("/settings/apply", data=hidden(shown))
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/settings/outcome")
    assert "  - name: mine\n    url: https://lists.example.org/x\n    every: 2h\n" in config.read_text()
    assert hangups == [signal.SIGHUP]
    assert [event.detail for event in program.recorded] == [
        "the settings were changed on the review page: adds the feed mine"
    ]
    waiting = client.get(answer.headers["location"]).text
    assert 'http-equiv="refresh"' in waiting  # no proxy of this state runs: it is waited for


def test_a_rejected_form_keeps_what_was_typed_with_the_message_beside_its_field(client, config):
    answer = send(client, "preview", "add-feed", **{**FEED, "every": "soon"})
    assert answer.status_code == 400
    assert 'value="https://lists.example.org/x"' in answer.text
    assert re.search(r'name="every"[^>]*value="soon" aria-invalid="true"', answer.text)
    assert answer.text.count('role="alert"') == 1
    several = send(client, "preview", "add-feed", **{**FEED, "url": "x", "every": "soon", "name": ""}).text
    for name in ("name", "url", "every"):
        assert re.search(rf'name="{name}"[^>]* aria-invalid="true" aria-describedby="fault-{name}"', several)
    assert several.count('role="alert"') == 3
    assert config.read_text() == SETTINGS


def test_a_fault_of_one_group_stands_in_its_form_alone(client):
    answer = send(client, "preview", "group", name="children", networks="10.0.0.300")
    form = answer.text.partition("<details open>")[2].partition("</details>")[0]
    assert 'value="10.0.0.300" aria-invalid="true"' in form
    assert answer.text.count('aria-invalid="true"') == 1


def test_a_fault_of_what_has_no_field_stands_on_top(client):
    for form, told in (
        ({"what": "switch-feed", "name": "gone", "enabled": "true"}, "there is no feed"),
        ({"what": "switch-feed", "name": "urlhaus", "enabled": "x"}, "enabled: expected true or false"),
        ({"what": "group", "name": "gone"}, "there is no group"),
    ):
        what = form.pop("what")
        page = send(client, "preview", what, **form).text
        assert re.search(rf'(?i)class="banner bad" role="alert"><p class="wrap">{told}', page)


def test_a_file_that_was_changed_meanwhile_shows_the_difference_anew(client, config, hangups):
    form = hidden(send(client, "preview", "policy", level="high").text)
    config.write_text(SETTINGS.replace("# of this household", "# of that household"))
    answer = client.post("/settings/apply", data=form)
    assert answer.status_code == 409
    assert "changed meanwhile" in answer.text
    again = hidden(answer.text)
    assert again["digest"] != form["digest"]
    assert client.post("/settings/apply", data=again).status_code == 303
    assert "# of that household" in config.read_text()
    assert "level: high # for everybody" in config.read_text()


def test_nothing_is_written_without_the_forms_own_token(client, config, hangups):
    form = hidden(send(client, "preview", "policy", level="high").text)
    assert client.post("/settings/apply", data={**form, "csrf": "x"}).status_code == 403
    assert (
        client.post("/settings/apply", data=form, headers={"origin": "http://evil.example"}).status_code
        == 403
    )
    assert (config.read_text(), hangups) == (SETTINGS, [])


def test_a_read_only_file_is_shown_to_be_changed_by_hand(client, config):
    config.chmod(0o444)
    shown = send(client, "preview", "policy", level="high").text
    assert "is read-only. Apply the difference by hand" in shown
    assert "/settings/apply" not in shown
    assert "+  level: high # for everybody" in shown


def test_where_changing_is_switched_off_no_form_and_no_promise_of_one_is_shown(client, program):
    shown = client.get("/settings").text
    assert "shown as a difference first" in shown
    settings = program.editor._settings
    closed = settings.review.model_copy(update={"settings": False})
    program.editor._settings = settings.model_copy(update={"review": closed})
    shown = client.get("/settings").text
    assert "switched off" in shown
    assert "shown as a difference first" not in shown
    assert "Show the difference" not in shown


@pytest.mark.parametrize("broken", ["nonsense: 1\n", "policy: [\n"])
def test_a_file_with_a_fault_says_where(client, config, broken):
    config.write_text(broken)
    shown = client.get("/settings")
    assert shown.status_code == 200
    assert "proxy.yaml:" in shown.text


def test_what_becomes_of_it_is_asked_in_numbers(client):
    assert client.get("/settings/outcome?readings=x").status_code == 400
    assert client.get("/settings/outcome?readings=1&file=a").status_code == 200


def test_what_becomes_of_what_a_feed_brought_is_shown_before_it_is_switched_off(client):
    off = send(client, "preview", "switch-feed", name="urlhaus", enabled="false").text
    assert "What it brought is out of force within moments" in off
    on = send(client, "preview", "switch-feed", name="warnings", enabled="true").text
    assert "out of force" not in on
