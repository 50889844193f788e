"""What every page shows around its content."""

import re
from html import unescape

import pytest

from review.stage import csrf, keep, make_event, post
from secondlook.core.event import EventKind


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_form_leads_to_no_other_site(client, back):
    assert (
        post(client, "/rules", action="block", subject="a.example", back=back)
        .headers["location"]
        .startswith("/rules?")
    )


@pytest.mark.parametrize(
    ("path", "form", "field", "message"),
    [
        ("/rules", {"action": "block", "subject": "http://", "reason": "kept"}, "subject", "cannot make a rule"),
        ("/rules", {"action": "block", "subject": "h.example", "for": "soon", "reason": "kept"}, "for", "expected"),
        ("/rules", {"action": "block", "subject": "h.example", "client": "10.0.0.0/99", "reason": "kept"}, "client", "client"),
        ("/rules/import", {"text": "[kept"}, "text", "this is no export of rules"),
        ("/rules/import", {"text": '[{"kept": 1}]'}, "text", "import: rule 1"),
        ("/pause", {"minutes": "kept"}, "minutes", "expected a number of minutes"),
        ("/pause", {"minutes": "999999"}, "minutes", "pause: expected minutes"),
        ("/clients/erase", {"client": " "}, "client", "client"),
    ],
)  # fmt: skip
def test_a_rejected_form_keeps_what_was_typed_with_the_message_beside_the_field(
    client, ledger, path, form, field, message
):
    answer = post(client, path, **form)
    assert answer.status_code == 400
    shown = unescape(answer.text)
    assert f'aria-describedby="fault-{field}"' in shown
    assert re.search(f'id="fault-{field}" role="alert">{message}', shown), shown
    assert all(value in shown for name, value in form.items() if name != "action")
    assert not ledger.snapshots.rules()


@pytest.mark.parametrize(
    ("visited", "verdict", "then"),
    [
        (EventKind.FLAGGED, EventKind.CONFIRMED, "before any server could answer"),
        (EventKind.CHECK, EventKind.LATE_VERDICT, "when nothing bad was known about it"),
    ],
)
def test_a_late_verdict_stands_on_top_until_it_was_seen(client, ledger, visited, verdict, then):
    identity = bytes([9]) * 32
    visit = make_event(
        visited, url="http://late.example/", decision="allow", identity=identity, time=1_790_000_000.0
    )
    told = make_event(verdict, url="http://late.example/", identity=identity)
    keep(ledger, visit, told)
    shown = client.get("/lists").text
    assert re.search(r"1 late verdict:</strong> this computer was let through to what turned out bad", shown)
    assert then in client.get("/late").text
    post(client, f"/late/{told.id}/seen")
    assert "late verdict:" not in client.get("/lists").text
    assert "Nothing new" in client.get("/late").text


def test_late_verdicts_are_one_strip_and_are_marked_as_seen_together(client, ledger):
    def late(number, clients):
        host = f"h{number}.example"
        visits = [{"client": name, "user": None, "time": 1_790_000_000.0 + number} for name in clients]
        return make_event(
            EventKind.CONFIRMED, url=f"https://{host}/", host=host, identity=bytes([number]) * 32, decision=None,
            extra={"let_through": visits},
        )  # fmt: skip

    keep(ledger, *[late(number, ["10.0.0.7", f"10.0.0.{number + 20}"]) for number in range(3)])
    shown = client.get("/rules").text
    assert "3 late verdicts:</strong> 10.0.0.7, 10.0.0.22 and 2 more were let through" in shown
    assert shown.count('class="banner bad') == 1
    newest = shown.partition('name="newest" value="')[2].partition('"')[0]
    keep(ledger, late(3, ["10.0.0.9"]))  # after the page was made: it is not marked with the others
    answer = post(client, "/late/seen", newest=newest, back="/rules")
    assert answer.headers["location"] == "/rules?done=seen"
    assert "1 late verdict:</strong> 10.0.0.9 was let through" in client.get("/rules").text
    assert client.get("/late").text.count("h1.example") > 0  # still there, among those that were seen
    assert post(client, "/late/seen", newest="nonsense").headers["location"] == "/late"
    assert "1 late verdict:" in client.get("/rules").text


def test_what_is_not_there_is_said_in_the_frame(client):
    answer = client.get("/nothing-here")
    assert answer.status_code == 404
    assert "Second Look" in answer.text


def test_the_token_of_the_page_is_the_sessions(client):
    assert re.fullmatch(r"[0-9a-f]{64}", csrf(client))


@pytest.mark.parametrize(
    ("path", "title", "back"),
    [
        ("/nothing", "There is no such page", "/"),
        ("/log/01NONE", "That did not work", "/log"),
    ],
)
def test_what_cannot_be_shown_says_so_and_leads_back(client, path, title, back):
    shown = client.get(path).text
    assert f"<h1>{title}</h1>" in shown
    assert f'<a class="button" href="{back}">' in shown
