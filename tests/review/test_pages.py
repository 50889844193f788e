"""Every page and action over a real ledger."""

import asyncio
import re
import time

import pytest
from starlette.testclient import TestClient

from review.stage import ORIGIN, csrf, keep, make_event, make_flag, post
from secondlook.core.event import Event, EventKind, QuarantineRecord
from secondlook.core.tls_exception import Lasting
from secondlook.ground.instant import rfc3339
from secondlook.ground.ulid import make_id

PAGES = [
    "/",
    "/log",
    "/clients",
    "/clients/10.0.0.1",
    "/flagged",
    "/rules",
    "/check",
    "/quarantine",
    "/lists",
    "/settings",
    "/setup",
]
HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "=cmd|' /C calc'!A0", "\x1b[31mred\x1b[0m", "user\u202egnp.exe",
    "{{7*7}}", "'; DROP TABLE events;--", "a" * 100_000,
]  # fmt: skip


def test_every_page_opens_on_an_empty_ledger_and_loads_nothing_from_elsewhere(client):
    for path in PAGES:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        assert "<title>" in answer.text, path
        assert "on" + "click=" not in answer.text, path
        assert " style=" not in answer.text, path
        for link in re.findall(r'(?:src|action|href)="([^"]+)"', answer.text):
            assert link.startswith(("/", "#")) or link in {
                "http://malware.secondlook.test/",
                "http://secondlook.internal/filtered",
                *(
                    f"http://127.0.0.1:8080/ca.{kind}"
                    for kind in ("pem", "crt", "mobileconfig", "mobileconfig?proxy=pac")
                ),
            }, (path, link)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text)[:20])
def test_hostile_text_is_only_text(client, ledger, text):
    event = make_event(
        EventKind.FLAGGED, url=f"http://x.example/{text}", host=f"x{text}.example", referrer=text, filename=None, list=text, client=text[:40],
        detail=text, stage="unverifiable", extra={"steps": [{"stage": text, "outcome": text, "detail": text, "elapsed_ms": 1.0}], "user_agent": text},
    )  # fmt: skip
    asyncio.run(ledger.flags.flag(event, make_flag(event, reason=text)))
    for page in (*PAGES, f"/log/{event.id}"):
        shown = client.get(page).text
        assert "<script>alert" not in shown, page
        assert "<img src=x" not in shown, page
        assert "\x1b" not in shown, page
        assert "\u202e" not in shown, page
        assert "49" not in re.findall(r"x\.example/(\w+)", shown), page


def test_the_overview_says_what_needs_attention(client, ledger, program):
    assert "Nothing needs your attention" in client.get("/").text
    program.server_rows = [
        {"name": "http://sps-1", "tier": "intranet", "up": False, "detail": "circuit open"}
    ]
    program.alert_rows = [
        {
            "kind": "bad",
            "title": "The pattern is 3 days old.",
            "text": "Updates fail.",
            "href": None,
            "link": None,
        }
    ]
    event = make_event(EventKind.FLAGGED)
    asyncio.run(ledger.flags.flag(event, make_flag(event)))
    shown = client.get("/").text
    assert "subject waits" not in shown  # the server's being away says it
    assert "No answer from http://sps-1" in shown
    assert "The pattern is 3 days old." in shown
    program.server_rows = []
    assert "1 subject waits for a second look." in client.get("/").text


def test_the_overview_counts_and_draws(client, ledger):
    keep(ledger, *[make_event() for _ in range(3)], make_event(EventKind.CHECK, decision="allow"))
    shown = client.get("/").text
    assert re.search(r'decision=block&amp;since=[^"]+"><span class="big">3</span>', shown)
    assert 'class="blocked"' in shown


def test_an_overview_without_traffic_says_what_to_do(client):
    shown = client.get("/").text
    assert "Nothing was checked yet" in shown
    assert '<svg class="chart"' not in shown


def test_the_overview_tells_for_whom_alone_protection_is_paused_and_resumes_it(client, ledger):
    ledger.pauses.add(15, client="10.0.0.7")
    ledger.pauses.add(15, client="anna")
    shown = client.get("/").text
    assert "Protection is on" in shown
    assert "Protection is paused for 10.0.0.7." in shown

    def resume(name):
        form = {"client": name, "csrf": csrf(client)}
        return client.post("/resume", data=form, headers={"origin": ORIGIN})

    assert resume("10.0.0.7").headers["location"] == "/?done=resumed"
    shown = client.get("/").text
    assert "paused for 10.0.0.7" not in shown
    assert "paused for anna" in shown
    assert resume(" ").status_code == 400


def test_the_overview_does_not_claim_protection_where_no_list_protects(client, program):
    note = {
        "kind": "bad",
        "title": "Feeds.",
        "text": "No list protects any more.",
        "href": None,
        "link": None,
    }
    program.alert_rows.append(note | {"unprotected": True})
    shown = client.get("/").text
    assert "<h2>No list protects</h2>" in shown
    assert "Protection is on" not in shown
    assert "<p>Running since " in shown, "not since then without a list"
    program.alert_rows[:] = [note | {"unprotected": False}]
    shown = client.get("/").text
    assert "<h2>Protection is on</h2><p>Since " in shown.replace("</h2>\n", "</h2>")


def test_pause_and_resume(client, ledger):
    assert post(client, "/pause", minutes="15").headers["location"] == "/?done=paused"
    assert "Protection is paused" in client.get("/").text
    assert len(ledger.snapshots.pauses()) == 1
    post(client, "/resume")
    assert "Protection is on" in client.get("/").text


@pytest.mark.parametrize("minutes", ["", "x", "-1", "0", "nan", "1e9"])
def test_an_impossible_pause_is_refused(client, ledger, minutes):
    assert post(client, "/pause", minutes=minutes).status_code == 400
    assert not ledger.snapshots.pauses()


def test_a_page_that_fails_says_so_in_the_sites_own_dress(app, door, program, monkeypatch):
    with TestClient(app, base_url=ORIGIN, raise_server_exceptions=False) as client:
        client.get(f"/?token={door.token}")
        monkeypatch.setattr(program, "feeds", None)
        answer = client.get("/lists")
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.text
    assert "Content-Security-Policy" in answer.headers


def test_flagged_shows_what_waits_and_asks_again(client, ledger, program):
    event = make_event(
        EventKind.FLAGGED, url="http://unknown.example/", host="unknown.example", stage="unverifiable"
    )
    asyncio.run(ledger.flags.flag(event, make_flag(event)))
    shown = client.get("/flagged").text
    assert '<span class="host"><bdi>unknown.example</bdi></span><span class="path">/</span>' in shown
    assert "no server answered" in shown
    assert '<span class="count"><span class="visually-hidden">, </span>1</span>' in shown
    assert post(client, "/flagged/verify").status_code == 303
    assert program.asked == ["verify"]


def test_check_tells_the_stages(client):
    shown = client.get("/check?subject=http://malware.secondlook.test/").text
    assert "It stands on the list URLhaus (malware)" in shown
    assert "1 expression looked up" in shown
    assert client.get("/check?subject=two+words").status_code == 400


def test_quarantine_is_listed_restored_and_deleted(client, ledger, program):
    record = QuarantineRecord(
        id="q1", state="held", sha256="ab" * 32, size=68, path="/home/a/Downloads/<b>eicar</b>.com", stored_as="ab" * 32, mode=0o644,
        modified_at=1.0, moved_at=2.0, threat="malware",
    )  # fmt: skip
    asyncio.run(ledger.quarantine.keep(record))
    shown = client.get("/quarantine").text
    assert "/home/a/Downloads/&lt;b&gt;eicar&lt;/b&gt;.com" in shown
    # what cannot be undone takes two steps
    assert re.search(r"<details><summary>Delete<.*?Delete for good.*?</details>", shown, re.DOTALL)
    assert shown.count("Delete for good") == shown.count('/delete"') == 1
    post(client, "/quarantine/q1/restore")
    post(client, "/quarantine/q1/delete")
    assert program.asked == [("restore", "q1"), ("delete", "q1")]
    assert post(client, "/quarantine/none/delete").status_code == 404


def test_a_file_that_another_proxy_holds_has_no_buttons_here(client, ledger, program):
    record = QuarantineRecord(
        id="q1", state="held", sha256="ab" * 32, size=68, path="/a.exe", stored_as="ab" * 32, mode=0o644,
        modified_at=1.0, moved_at=2.0, proxy="other",
    )  # fmt: skip
    asyncio.run(ledger.quarantine.keep(record))
    assert "/quarantine/q1/restore" in client.get("/quarantine").text  # a ledger of its own: renamed since
    program.shared_as = "here"
    shown = client.get("/quarantine").text
    assert "On the machine of the proxy other" in shown
    assert "/quarantine/q1/restore" not in shown


def test_a_rollback_stands_on_the_lists_until_it_is_over(client, program):
    assert "Rolled back." not in client.get("/lists").text
    program.rollback = "the pattern was rolled back: older lists stay in force"
    assert "The pattern was rolled back: older lists stay in force." in client.get("/lists").text
    assert post(client, "/lists/update", force="1").status_code == 303
    assert post(client, "/lists/update").status_code == 303
    assert program.asked == ["update by force", "update"]


def test_learned_passthroughs_are_shown_with_their_end(client, ledger, program):
    now = time.time()
    assert "None now." in client.get("/lists").text
    lessons = [
        Event(
            id=make_id(at), kind=EventKind.ACTION, time=at, client="10.0.0.7", host=host, stage="passthrough"
        )
        for at, host in ((now - 60, "pinned.example"), (now - 4000, "over.example"))
    ]
    keep(ledger, *lessons)
    shown = client.get("/lists").text
    assert "pinned.example" in shown
    assert "10.0.0.7" in shown
    assert f'datetime="{rfc3339(now - 60 + 3600)}"' in shown
    assert "over.example" not in shown
    program.passages = Lasting()
    assert "Passed through unopened" not in client.get("/lists").text


def test_lists_servers_and_feeds_are_shown_and_updated(client, program):
    shown = client.get("/lists").text
    assert "512,345" in shown
    assert "urlhaus" in shown
    assert "On the intranet" in shown
    assert re.search(r'phishing-database <span class="tag">off</span>.*what it brought is kept', shown)
    post(client, "/lists/update")
    assert program.asked == ["update"]


def test_where_a_gateway_asks_the_set_up_page_names_no_proxy(client, program):
    assert "127.0.0.1</code>, port <code>8080" in client.get("/setup").text
    program.proxy = ""
    shown = client.get("/setup").text
    assert "secondlook setup squid" in shown
    assert "proxy.pac" not in shown


def test_a_code_leads_phones_to_the_proxy_where_they_reach_it(client, program):
    shown = client.get("/setup").text
    assert "Only this computer reaches the proxy now" in shown
    assert 'class="qr"' not in shown
    assert 'href="http://127.0.0.1:8080/ca.mobileconfig"' in shown
    program.address_of_others = "192.168.1.5:8080"
    shown = client.get("/setup").text
    assert '<a href="http://192.168.1.5:8080/">' in shown
    assert '<svg viewBox="0 0 132 132" class="qr">' in shown
    assert "192.168.1.5</code>, port <code>8080" in shown
    assert "Trusted Root Certification Authorities" in shown


def test_a_client_is_forgotten_by_the_set_up_page(client, ledger):
    keep(ledger, make_event(client="10.0.0.7"), make_event(client="10.0.0.8"))
    assert "Forget a client" in client.get("/setup").text
    token = csrf(client)

    def erase(name, **form):
        return client.post("/clients/erase", data={"client": name, **form})

    assert erase("", csrf=token).status_code == 400
    assert erase("10.0.0.7").status_code == 403
    assert len(ledger.events.page().events) == 2
    assert erase("10.0.0.7", csrf=token).headers["location"] == "/setup?done=erased"
    assert [event.client for event in ledger.events.page().events] == ["10.0.0.8"]


def test_a_damaged_certificate_is_named_with_what_to_do(client, program):
    program.authority.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n")
    for answer in (client.get("/setup"), client.get("/ca.pem")):
        assert f"{program.authority} is damaged" in answer.text
        assert "Start the proxy again" in answer.text
    assert (client.get("/setup").status_code, client.get("/ca.pem").status_code) == (200, 503)
    facts = client.get("/api/v1/setup").json()
    assert facts["ca"] is None
    assert "is damaged" in facts["ca_fault"]


def test_a_check_says_what_would_be_done(client, program):
    async def check(text, client=None):
        return {"subject": text, "decision": "flag", "stage": "unverifiable", "stages": [], "expressions": []}

    program.check = check
    shown = client.get("/check?subject=http://a.example/").text
    assert "it would be let through and queued" in shown


def test_a_form_that_is_refused_at_the_gate_gets_a_page(client):
    answer = client.post("/pause", data={"minutes": "5"}, headers={"origin": ORIGIN})
    assert answer.status_code == 403
    assert "<h1>That did not work</h1>" in answer.text
    assert "Reload the page and try again; nothing was changed." in answer.text
