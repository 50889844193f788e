"""What engines found goes from the log into the outbox, by itself."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from ledgerkit.fake import FakeLedger
from secondlook.agent.actions.outbox import Outbox
from secondlook.config.agent import Settings
from secondlook.core.event import Event, EventKind
from secondlook.core.verdict import Risk
from secondlook.run.assembly.background.reporting import ScanFindings, start_reporting

DIGEST = "ab" * 32


def event(**named):
    known = {"sha256": DIGEST, "stage": "scan", "list": "yara", "rule": "Planted", "risk": "suspicious"}
    return Event(id="1", time=1.0, kind=EventKind.BLOCKED, **{**known, **named})


def found(tmp_path, *events):
    async def story():
        findings = ScanFindings(Outbox(tmp_path))
        running = asyncio.create_task(findings.run())
        for each in (*events, event(sha256="cd" * 32)):
            findings.take(each)
        while not any(each.subject == "cd" * 32 for each in Outbox(tmp_path).waiting().values()):
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(story())
    return [each for each in Outbox(tmp_path).waiting().values() if each.subject != "cd" * 32]


def test_a_file_that_an_engine_knows_is_a_finding(tmp_path):
    (finding,) = found(tmp_path, event())
    assert (finding.subject, finding.name, finding.engine, finding.risk) == (
        DIGEST,
        "Planted",
        "yara",
        Risk.SUSPICIOUS,
    )


@pytest.mark.parametrize("named", [{"sha256": None}, {"risk": None}, {"risk": "safe"}])
def test_what_names_no_file_or_no_risk_is_none(tmp_path, named):
    assert found(tmp_path, event(**named)) == []


def test_a_full_disk_is_logged_and_the_next_is_taken(tmp_path, monkeypatch, caplog):
    put = Outbox.put

    def full(self, finding):
        if finding.subject == DIGEST:
            raise OSError(28, "No space left on device")
        return put(self, finding)

    monkeypatch.setattr(Outbox, "put", full)
    assert found(tmp_path, event()) == []
    assert "No space left on device" in caplog.text


def test_without_a_server_of_ours_nothing_starts(tmp_path):
    async def story():
        settings = Settings.model_validate({"state": tmp_path, "scan": {"report": True}})
        parts = SimpleNamespace(settings=settings, clock=None, ledger=FakeLedger(None))
        async with contextlib.AsyncExitStack() as stack:
            await start_reporting(stack, parts)
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())
