"""What the supervisor has written down: by a child that it waits for with nothing."""

import os
import sys

from secondlook.run.supervisor.event_writer import EventWriter


def test_a_child_that_reads_nothing_of_what_does_not_fit_a_pipe_is_no_trouble(tmp_path, monkeypatch):
    dying = tmp_path / "dying"
    dying.write_text("#!/bin/sh\nexit 1\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    events = EventWriter()
    events.write("x" * (1 << 20), "{}")
    [child] = events._children
    assert child.wait(60) == 1
    events.reap()
    assert events._children == []


def test_where_nothing_can_be_started_that_is_said(monkeypatch, capfd):
    monkeypatch.setattr(sys, "executable", os.devnull)
    EventWriter().write("it hung", "{}")
    assert capfd.readouterr().err == "secondlook: cannot write an event of this: Permission denied\n"
