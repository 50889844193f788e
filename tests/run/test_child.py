"""A child of the supervisor: what it says, and when it is started again."""

import os
import sys
from pathlib import Path

import pytest

from secondlook.run.supervisor.child import Child, how_it_ended, name_of


def test_waits_longer_after_each_failure_and_starts_at_once_after_a_long_run():
    child = Child("worker", 0, started_at=0.0)
    delays = [child.schedule(now=1.0) for _ in range(12)]
    assert delays[0] == 0.0
    assert delays[1:] == sorted(delays[1:])
    assert delays[-1] == 30.0
    assert child.schedule(now=100.0) == 0.0


def test_a_start_that_fails_leaves_nothing_and_is_no_steady_run(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    child = Child("worker", 0, started_at=0.0)
    opened, delays = set(Path("/proc/self/fd").iterdir()), []
    for now in (1_000.0, 1_001.0, 1_002.0):
        with pytest.raises(FileNotFoundError):
            child.start(0, [], now)
        delays.append(child.schedule(now))
    assert set(Path("/proc/self/fd").iterdir()) == opened
    assert not child.alive
    assert delays == sorted(set(delays))  # each longer than the one before


def test_hears_whole_lines_only():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    child = Child("worker", 0, pipe=reader)
    os.write(writer, b'{"pattern": "7"}\n{"rea')
    assert child.hear() == [{"pattern": "7"}]
    assert not child.ready
    assert child.hear() == []
    os.write(writer, b'dy": true}\nrubbish\n[1]\n')
    assert child.hear() == [{"ready": True}]
    assert child.ready
    assert child.facts == {"pattern": "7", "ready": True}
    os.close(writer)
    assert child.hear() == []
    assert child.pipe is None


def test_says_how_it_ended():
    assert how_it_ended(3) == "ended with status 3"
    assert how_it_ended(-9) == "was killed by SIGKILL"
    assert how_it_ended(-200) == "was killed by signal 200"


def test_says_what_it_is_called():
    assert [name_of(role, 1) for role in ("service", "worker", "gate")] == [
        "service",
        "worker 1",
        "gate worker 1",
    ]
