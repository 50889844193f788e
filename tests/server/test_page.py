"""The administrator's page over HTTP: who sees it, what it shows, and what its forms do."""

import asyncio
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from argon2 import PasswordHasher

from secondlook.config.service import PublishSettings
from secondlook.ground.clock import SystemClock
from secondlook.server.admin.page import MAX_FORM_BYTES, AdminPage
from secondlook.server.admin.sign_in import TRIES, SignIn
from secondlook.server.feeds.feed_state import FeedState, write_state
from secondlook.server.findings.intake import Intake
from secondlook.server.findings.receiver import FindingReceiver
from secondlook.server.http.app import AppSettings
from secondlook.server.store.feeds_off import Off, write_off
from secondlook.wire.finding import Finding, Report
from serverkit import NOW, listening, make_store

HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")
DIGEST = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, ["evil.example"])


@pytest.fixture
def intake(store):
    intake = Intake(store, PublishSettings())
    findings = tuple(
        Finding(subject=subject, name=name, engine="clamav")
        for subject, name in ((DIGEST, "<b>Eicar\u202e"), ("cd" * 32, "Other"))
    )
    intake.take(Report("desk-7", findings), mode="ask", address="10.0.0.7", now=NOW)
    return intake


@asynccontextmanager
async def serving(store, intake, *, mode="ask", **options):
    async def publish():
        return

    receiver = FindingReceiver(intake, mode, SystemClock(), publish)
    door = SignIn(HASH, SystemClock().monotonic)
    admin = AdminPage(store, receiver, door, lambda scope: scope["client"][0], **options).app
    async with listening(store, AppSettings(tokens=("secret",), findings=receiver, admin=admin)) as (
        _,
        client,
    ):
        yield client


def run(store, intake, story, **options):
    async def playing():
        async with serving(store, intake, **options) as client:
            client.auth = ("admin", "right")
            return await story(client)

    return asyncio.run(playing())


def token_of(page):
    return re.search(r'name="token" value="([0-9a-f]{64})"', page).group(1)


def forms_of(page):
    """Return what the forms of a page send, by the finding."""
    found = re.findall(r"<form .*?</form>", page, re.DOTALL)
    sent = [dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)) for form in found]
    return {each["id"]: each for each in sent}


def states(intake):
    return {finding.text: finding.state for finding in intake.findings()}


def test_it_shows_what_is_served_and_what_waits_as_text(store, intake):
    page = run(store, intake, lambda client: client.get("/admin"))
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert "Findings that wait for approval (2)" in page.text
    assert "&lt;b&gt;Eicar" in page.text
    assert "\u202e" not in page.text
    assert "<b>" not in page.text
    assert re.search(r"<dt>mw-8b</dt><dd>2</dd>", page.text)


def test_it_shows_which_feeds_fail_and_since_when(store, intake):
    folder = store.root / "feeds"
    write_state(folder, "stopped", FeedState(good_at=NOW, error="404"))
    write_state(folder, "unheard", FeedState(error="no such host"))
    write_state(folder, "removed", FeedState(good_at=NOW, error="410"))
    write_state(folder, "fine", FeedState(good_at=NOW))
    feeds = {"stopped", "unheard", "fine"}
    page = run(store, intake, lambda client: client.get("/admin"), feeds=feeds).text
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(NOW))
    assert re.findall("Feed (.*?)</p>", page) == [
        f"stopped fails since {since}: 404",
        "unheard never came: no such host",
    ]


def test_it_shows_which_feeds_are_off_and_that_nothing_protects(store, intake):
    [source] = store.sources()
    store.change_source(replace(source, kind="feed", name="urlhaus"))
    write_state(store.root / "feeds", "urlhaus", FeedState(good_at=NOW, error="404"))
    write_off(store.root, {"urlhaus": Off(NOW)})
    page = run(store, intake, lambda client: client.get("/admin"), feeds={"other"}).text
    assert re.findall("<p>Feed (.*?)</p>", page) == [
        "urlhaus: switched off since 2026-09-21; what it brought is kept, and not in force."
    ]
    assert "No list protects any more: urlhaus is switched off" in page


@pytest.mark.parametrize("path", ["/admin", "/admin/findings"])
def test_without_the_password_nothing_is_shown_or_changed(store, intake, path):
    async def story(client):
        client.auth = None
        asked = await client.request("GET" if path == "/admin" else "POST", path)
        client.auth = ("admin", "wrong")
        wrong = [(await client.get("/admin")).status_code for _ in range(TRIES + 1)]
        return asked, wrong

    asked, wrong = run(store, intake, story)
    assert (asked.status_code, asked.headers["www-authenticate"][:5]) == (401, "Basic")
    assert DIGEST not in asked.text
    assert wrong == [401] * (TRIES - 1) + [429] * 2
    assert set(states(intake).values()) == {"waiting"}


def test_approve_and_withdraw(store, intake):
    async def story(client):
        forms = forms_of((await client.get("/admin")).text)
        for do, identity in (("approve", "found-1"), ("withdraw", "found-2")):
            done = await client.post("/admin/findings", data={**forms[identity], "do": do})
            assert (done.status_code, done.headers["location"]) == (303, "/admin")
        return await client.post("/admin/findings", data={**forms["found-1"], "do": "approve"})

    again = run(store, intake, story)
    assert again.status_code == 409
    assert "no finding is called found-1" in again.text
    assert states(intake) == {DIGEST: "listed", "cd" * 32: "withdrawn"}


@pytest.mark.parametrize("do", ["approve", "withdraw"])
@pytest.mark.parametrize("listed", [False, True])
def test_what_a_page_does_not_show_is_not_decided_from_it(store, intake, do, listed):
    """Its number may be given again, once the finding is gone that the page shows under it."""

    async def story(client):
        if listed:
            intake.approve("found-2", now=1.0)
        shown = forms_of((await client.get("/admin")).text)["own-1" if listed else "found-2"]
        if listed:
            intake.withdraw("own-1", now=2.0)
        else:
            intake.approve("found-2", now=1.0)
        other = Finding(subject="worse.example", name="Other", engine="yara")
        mode = "auto" if listed else "ask"
        intake.take(Report("desk-9", (other,)), mode=mode, address="::1", now=3.0)
        before = states(intake)
        assert shown["id"] in {each.id for each in intake.findings() if each.text == "worse.example/"}
        answer = await client.post("/admin/findings", data={**shown, "do": do})
        return answer, before

    answer, before = run(store, intake, story)
    assert answer.status_code == 409
    assert states(intake) == before


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 403),
        ({"token": "0" * 64, "id": "found-1", "do": "approve"}, 403),
        ({"token": None, "id": "found-1", "do": "delete"}, 400),
        ({"token": None, "id": "x" * MAX_FORM_BYTES, "do": "approve"}, 403),
    ],
)
def test_a_form_that_is_not_ours_changes_nothing(store, intake, form, status):
    async def story(client):
        token = token_of((await client.get("/admin")).text)
        sent = {name: token if value is None else value for name, value in form.items()}
        assert (await client.get("/admin/findings")).status_code == 405
        return await client.post("/admin/findings", data=sent)

    assert run(store, intake, story).status_code == status
    assert set(states(intake).values()) == {"waiting"}


def test_it_says_when_nothing_is_published_or_taken(store, intake):
    page = run(store, intake, lambda client: client.get("/admin"), publishes=False)
    assert "secondlook server publish" in page.text
    page = run(store, intake, lambda client: client.get("/admin"), mode="off")
    assert "Findings are not taken" in page.text


def test_a_damaged_folder_is_said(store, intake):
    (store.root / "findings.json").write_text("{")
    page = run(store, intake, lambda client: client.get("/admin"))
    assert page.status_code == 503
    assert "findings.json" in page.text


def test_agents_still_need_their_token_elsewhere(store, intake):
    answer = run(store, intake, lambda client: client.get("/administration"))
    assert answer.status_code == 403
