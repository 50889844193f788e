"""The configuration, read again: taken whole, or refused with a reason and an event (2 s)."""

import json
import os
import signal
import sys
from dataclasses import asdict, replace

import pytest

from secondlook.run.supervisor.event_writer import EventWriter
from secondlook.run.supervisor.plan import Invocation
from secondlook.run.supervisor.rereading import Rereading
from secondlook.run.supervisor.runfile import last_run


def test_a_refused_configuration_changes_nothing_and_is_reported(family):
    with family() as running:
        running.start()
        before = running.facts()
        (running.orders / "plan").write_text("line 3: expected a number")
        running.process.send_signal(signal.SIGHUP)
        assert running.hear("secondlook: ") == (
            "secondlook: the new configuration is refused: line 3: expected a number; the old one stays in force"
        )
        running.hear("reported")
        assert running.end() == 0
    after = last_run(running.state)
    assert after["workers"] == before["workers"]
    assert after["service"] == before["service"]
    assert after["settings"]["refused"] == "line 3: expected a number"


def test_a_configuration_of_any_length_is_read(family, plan):
    """A pipe takes 64 KiB: what reads the configuration must not wait until somebody takes more."""
    with family() as running:
        running.start()
        longer = replace(
            plan, settings=json.dumps(json.loads(plan.settings) | {"hosts": ["a.example"] * 50_000})
        )
        (running.orders / "plan").write_text(json.dumps(asdict(longer)))
        running.process.send_signal(signal.SIGHUP)
        running.hear("secondlook: the configuration is read again")
        assert running.end() == 0


def test_another_state_folder_is_refused_while_running(family, plan, tmp_path):
    with family() as running:
        running.start()
        (running.orders / "plan").write_text(json.dumps(asdict(replace(plan, state=str(tmp_path)))))
        running.process.send_signal(signal.SIGHUP)
        assert "`state` cannot change while running" in running.hear("secondlook: ")
        assert running.end() == 0


def test_a_plan_of_another_version_of_the_program_is_refused(family, plan):
    with family() as running:
        running.start()
        (running.orders / "plan").write_text(json.dumps(asdict(plan) | {"of_tomorrow": 1}))
        running.process.send_signal(signal.SIGHUP)
        assert "refused: another version of the program than this one has read it; restart" in running.hear(
            "secondlook: "
        )
        assert running.end() == 0


@pytest.mark.parametrize(
    ("written", "status", "why"),
    [
        ("line 3: expected a number", 2, "line 3: expected a number"),
        ("", 2, "ended with status 2"),
        ('{"settings": "{\\"password\\": \\"se', 1, "what reads it ended with status 1"),
    ],
)
def test_only_what_is_said_of_a_fault_is_repeated(tmp_path, monkeypatch, written, status, why):
    """What a child wrote that broke may be half a plan, with secrets."""
    (tmp_path / "written").write_text(written)
    reader = tmp_path / "reader"
    reader.write_text(f"#!/bin/sh\ncat {tmp_path}/written\nexit {status}\n")
    reader.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(reader))
    rereading = Rereading(EventWriter())
    rereading.ask(Invocation(config="proxy.yaml", overrides=("x" * (1 << 20),)))  # it reads none of it
    while (outcome := rereading.outcome()) is None:
        os.sched_yield()
    assert outcome == why


def test_what_is_asked_for_meanwhile_is_to_be_read_once_more(tmp_path, monkeypatch):
    written, reader = tmp_path / "written", tmp_path / "reader"
    os.mkfifo(written)
    reader.write_text(f"#!/bin/sh\ncat > /dev/null\ncat {written}\nexit 2\n")
    reader.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(reader))
    rereading = Rereading(EventWriter())
    for readings, faults in enumerate(("first", "second"), 1):
        rereading.ask(Invocation(config="proxy.yaml"))
        assert rereading.under_way
        assert not rereading.asked_meanwhile
        rereading.ask(Invocation(config="proxy.yaml"))
        assert rereading.asked_meanwhile
        assert rereading.outcome() is None
        written.write_text(faults)  # the child reads on only now
        while (outcome := rereading.outcome()) is None:
            os.sched_yield()
        assert (outcome, rereading.readings, rereading.under_way) == (faults, readings, False)
        assert rereading.asked_meanwhile
