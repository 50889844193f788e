"""Pauses, and their end."""

import time
from datetime import datetime

import pytest

from cli.calling import on
from e2e.processes import json_lines


@pytest.mark.parametrize(
    ("written", "lasts"), [("5", 300), ("0.5", 30), ("90s", 90), ("2h", 7200), ("7d", 604_800)]
)
def test_a_pause_takes_minutes_and_durations(state, written, lasts):
    before = time.time()
    (paused,) = json_lines("pause", written, "--state", state)
    assert (
        before + lasts
        <= datetime.fromisoformat(paused["until"]).timestamp() + 0.001
        <= time.time() + lasts + 0.001
    )


def test_pause_and_resume(state):
    on(state, "pause", "5")
    (status,) = json_lines("status", "--state", state)
    assert status["paused_until"]
    on(state, "resume")
    (status,) = json_lines("status", "--state", state)
    assert status["paused_until"] is None
    for wrong in ("-1", "nan", "inf", "8d", "1e9", "ten"):
        assert on(state, "pause", wrong, check=False).returncode == 2
