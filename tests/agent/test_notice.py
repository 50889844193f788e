import asyncio
import base64
import contextlib
import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.house import confirmed_about
from proxykit.site import send_page, serving
from secondlook.agent.actions.enforcement import FileOutcome
from secondlook.agent.actions.notice import (
    AppriseSender,
    Notice,
    confirmed_notice,
    defanged,
    harmless,
    message_of,
)
from secondlook.agent.actions.notifier import Notifier
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.ground.clock import SystemClock

HOSTILE = "http://ev\u202eil.test/<script>@everyone](http://x.test)`code`\x1b[31m\n**bold**"


def notice(subject="http://bad.test/x?q=secret", text="listed as malware") -> Notice:
    return Notice("confirmed", "Something let through turned out dangerous", "bad.test", subject, text)


def test_hostile_text_is_inert():
    shown = defanged(HOSTILE)
    assert "://ev" not in shown.replace("hxxp://ev", "")
    for sign in ("<", ">", "@", "`", "*", "[", "]", "\n", "\x1b", "\u202e"):
        assert sign not in shown


@given(st.text())
def test_no_text_survives_as_markup_or_link(text):
    shown = harmless(text)
    assert not set("<>`*_[]|\\&#~$@\n\r\t\x00\x1b\u202e\u200b").intersection(shown)
    assert len(defanged("http://" + text)) < 4000


def test_long_text_is_cut():
    assert len(defanged("http://" + "a" * 10_000)) < 1000


@pytest.mark.parametrize(
    ("privacy", "there", "missing"),
    [(0, "q=secret", None), (2, "bad(.)test", "secret"), (3, "review page", "bad")],
)
def test_the_privacy_level_is_obeyed(privacy, there, missing):
    _, body = message_of([notice()], 0, privacy)
    assert there in body
    assert missing is None or missing not in body


def test_the_notice_names_clients_and_what_was_done(house):
    entry = confirmed_about(house, "http://bad.test/x", host="bad.test")
    told = confirmed_notice(
        entry, ["10.0.0.9"], [], [FileOutcome("quarantine", True, "/home/a/bad.exe: put into quarantine")]
    )
    assert "10.0.0.9" in told.text
    assert "put into quarantine" in told.text
    assert told.title == "An address that was let through turned out dangerous"


@contextlib.contextmanager
def web_service():
    """A web service, or an HTTP proxy: both get requests. Gives its address and what it was asked."""
    seen = []

    def answer(request):
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        seen.append((request.path, request.headers["Proxy-Authorization"], body))
        send_page(request, b"")

    with serving(answer) as site:
        yield site.removeprefix("http://").removesuffix("/"), seen


def test_apprise_really_sends_over_http():
    with web_service() as (address, seen):
        notifier = Notifier(AppriseSender([f"json://{address}/hook"]), SystemClock())
        notifier.notify(notice(subject=HOSTILE))
        asyncio.run(notifier.send_due())
    ((_, _, message),) = seen
    assert message["title"] == "Something let through turned out dangerous"
    assert "hxxp" in message["message"]
    assert "<script>" not in message["message"]


def test_a_notice_goes_through_the_upstream_proxy(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://elsewhere.test:1")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    (tmp_path / "ca.pem").write_text("an authority\n")
    with web_service() as (address, seen):
        proxy = UpstreamProxySettings(
            url=f"http://{address}", user="anna", password="p@ss", ca=tmp_path / "ca.pem"
        )
        assert AppriseSender(["json://notices.test/hook"], proxy=proxy).send("title", "body")
    ((target, login, _),) = seen
    assert target == "http://notices.test/hook"
    assert base64.b64decode(login.removeprefix("Basic ")) == b"anna:p@ss"
    assert os.environ["http_proxy"] == "http://elsewhere.test:1"
    assert "REQUESTS_CA_BUNDLE" not in os.environ


def test_a_url_that_apprise_does_not_know_is_said(caplog):
    assert AppriseSender(["nonsense-without-scheme"]).send("t", "b") is False
    assert "not understood" in caplog.text
    assert AppriseSender([]).send("t", "b") is False


def test_a_missing_desktop_is_said_in_one_line_of_ours(caplog, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no notify-send
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    sent = AppriseSender([], desktop=True).send("t", "b")
    lines = [record.getMessage() for record in caplog.records]
    if sent:
        pytest.skip("this desktop shows notices")
    assert lines == ["no notice can be shown here: notify.desktop found no desktop session"]


def test_without_the_extra_the_desktop_s_own_command_shows_notices(monkeypatch, tmp_path):
    monkeypatch.setattr("secondlook.agent.actions.notice.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "apprise", None)  # importing it fails
    command = tmp_path / "notify-send"
    command.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert AppriseSender((), desktop=True).send("title", "body")
    assert (tmp_path / "told").read_text().splitlines()[-2:] == ["title", "body"]
    command.unlink()
    assert not AppriseSender((), desktop=True).send("title", "body")
