"""The list of clients and the page of each: what it shows, what can be done there, and links to it."""

import time
from urllib.parse import unquote

import pytest

from ledgerkit.samples import make_rule
from review.stage import keep, make_event, post
from secondlook.core.event import EventKind

ONE = "10.0.0.7"


@pytest.fixture
def used(ledger):
    now = time.time()
    keep(
        ledger,
        make_event(time=now - 2, client=ONE, user="anna", host="bad.example", url="http://bad.example/page"),
        make_event(
            EventKind.CHECK, time=now - 1, client="10.0.0.8", decision="allow", threat=None, list=None
        ),
    )
    ledger.counts.tally(EventKind.CHECK, "allow", "pattern", client="2001:db8::5", at=now - 7200)
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)
    return ledger


def rule(client, subject, source="operator", expires=None):
    return make_rule(subject=subject, client=client, created=time.time(), expires=expires, source=source)


def test_clients_are_listed_with_group_and_counts_the_last_seen_first(client, used):
    page = client.get("/clients").text
    order = [page.index(f'href="/clients/{name}"') for name in ("10.0.0.8", ONE, "2001%3Adb8%3A%3A5")]
    assert order == sorted(order)
    assert "children" in page
    found = client.get("/api/v1/clients?range=24h").json()
    assert [(each["client"], each["checked"], each["blocked"]) for each in found] == [
        ("10.0.0.8", 1, 0), (ONE, 1, 1), ("2001:db8::5", 1, 0),
    ]  # fmt: skip
    assert [each["client"] for each in client.get("/api/v1/clients?range=1h").json()] == ["10.0.0.8", ONE]


def test_the_page_of_a_client_holds_what_concerns_it_and_nothing_else(client, used):
    ends = time.time() + 600
    used.rules.add(rule(ONE, "own.example"))
    used.rules.add(rule("10.0.0.0/29", "network.example"))
    used.rules.add(rule("anna", "user.example"))
    used.rules.add(rule(f"anna@{ONE}", "exception.example", "override", ends))
    used.rules.add(rule("10.0.0.8", "other.example"))
    used.rules.add(rule(None, "everybody.example"))
    used.pauses.add(10, client=ONE)
    page = client.get(f"/clients/{ONE}").text
    for text in ("anna", "children", "bad.example", "URLhaus (malware)", "Protection is paused", "high"):
        assert text in page, text
    for text in ("own.example", "network.example", "user.example"):
        assert text in page.partition("Rules for it")[2], text
    assert "exception.example" in page.partition("Exceptions it made")[2].partition("Rules for it")[0]
    assert "data-until=" in page.partition("Exceptions it made")[2].partition("Rules for it")[0]
    assert "other.example" not in page
    assert "everybody.example" not in page
    found = client.get(f"/api/v1/clients/{ONE}").json()
    assert (found["users"], len(found["rules"]), len(found["exceptions"]), len(found["pauses"])) == (
        ["anna"],
        3,
        1,
        1,
    )


def test_a_client_nobody_has_seen_has_a_page_and_a_malformed_one_is_refused(client, used):
    assert "Nothing in this time" in client.get("/clients/10.9.9.9").text
    assert client.get("/clients/1.2.3.4.5").status_code == 400
    assert client.get("/clients?range=year").status_code == 400


@pytest.mark.parametrize("name", ["2001:db8::5", "anna", "dom%2Fuser", "10.0.0.0%2F8"])
def test_addresses_and_users_of_every_form_have_a_page(client, used, name):
    assert client.get(f"/clients/{name}").status_code == 200
    assert client.get(f"/api/v1/clients/{name}").json()["client"] == unquote(name)


def test_the_page_of_a_user_holds_what_was_recorded_of_that_user(client, used):
    page = client.get("/clients/anna").text
    assert "bad.example" in page.partition("Latest blocks and flags")[2]
    assert "asked for nothing" not in page + client.get("/?client=anna").text
    assert "Checks are counted by address" in page
    assert 'class="figures"' not in page
    found = client.get("/api/v1/clients/anna").json()
    assert found["last_seen"] is not None
    assert [each["user"] for each in client.get("/api/v1/events?client=anna").json()["events"]] == ["anna"]
    assert client.get("/api/v1/events?client=ann").json()["events"] == []
    assert "bad.example" not in client.get("/log?not=client:anna").text


def test_a_rule_is_removed_from_the_page_of_its_client(client, used):
    made = used.rules.add(rule(ONE, "own.example"))
    answer = post(client, f"/rules/{made.id}/remove", back=f"/clients/{ONE}")
    assert answer.headers["location"].startswith(f"/clients/{ONE}")
    assert "own.example" not in client.get(f"/clients/{ONE}").text


def test_clients_and_hosts_are_links_in_log_and_entry(client, used):
    assert f'href="/clients/{ONE}"' in client.get("/log").text
    (event,) = client.get(f"/api/v1/events?client={ONE}").json()["events"]
    entry = client.get(f"/log/{event['id']}").text
    assert f'href="/clients/{ONE}"' in entry
    assert 'href="/log?host=bad.example"' in entry
    assert "URLhaus (malware)" in entry


def test_a_client_is_called_by_the_name_that_it_was_given(client, program, used):
    program.names_given = {ONE: "<tablet> of Ada"}
    shown = f'<a href="/clients/{ONE}" title="{ONE}">&lt;tablet&gt; of Ada</a>'
    for path in ("/", "/clients", "/log"):
        assert shown in client.get(path).text, path
    page = client.get(f"/clients/{ONE}").text
    assert '<h1 class="wrap">&lt;tablet&gt; of Ada</h1>' in page
    assert f'<dd class="mono">{ONE}</dd>' in page
    assert "clients.names" in client.get("/clients/10.0.0.8").text
