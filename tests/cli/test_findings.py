"""`secondlook server findings`: what agents reported, listed, approved and withdrawn."""

import json

import pytest

from e2e.processes import command
from secondlook.config.service import PublishSettings
from secondlook.server.findings.intake import Intake
from secondlook.wire.finding import Finding, Report
from serverkit import NOW, make_store

DIGEST = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def findings(store, *words, check=0):
    done = command("server", "findings", *words, "--state", store.root, check=False)
    assert done.returncode == check, done.stdout + done.stderr
    return done


def reported(store):
    return [json.loads(line) for line in findings(store, "--json").stdout.splitlines()]


def test_a_finding_from_waiting_to_listed_to_withdrawn(store):
    assert "no agent reported anything" in findings(store).stderr
    report = Report("desk-7", (Finding(subject=DIGEST, name="Eicar", engine="clamav"),))
    Intake(store, PublishSettings()).take(report, mode="ask", address="10.0.0.7", now=NOW)
    (waiting,) = reported(store)
    assert waiting == {
        "id": "found-1",
        "state": "waiting",
        "subject": DIGEST,
        "list": "x-file-mw-8b",
        "found": "clamav: Eicar",
        "agent": "desk-7",
        "address": "10.0.0.7",
        "times": 1,
        "reported": "2026-09-21T14:13:20.000Z",
    }
    printed = findings(store, "approve", "found-1").stdout
    assert f"{DIGEST} is in x-file-mw-8b (id own-1)" in printed
    assert "server publish" in printed
    assert [(each["id"], each["state"]) for each in reported(store)] == [("own-1", "listed")]
    assert "is withdrawn" in findings(store, "withdraw", "own-1").stdout
    assert [each["state"] for each in reported(store)] == ["withdrawn"]


@pytest.mark.parametrize("what", ["approve", "withdraw"])
def test_a_name_that_nothing_has_is_an_error(store, what):
    done = findings(store, what, "found-9", check=1)
    assert "no finding is called found-9" in done.stderr
