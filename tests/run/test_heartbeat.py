"""Counting the silence of children, with a clock that is set by hand, and a family one of whom hangs (2 s)."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from secondlook.run.supervisor.child import Child
from secondlook.run.supervisor.heartbeat import STEP_S, Heartbeats, is_traced

LIMIT_S = 25.0
ROUND_S = 0.5


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


class Rounds:
    """A supervisor's rounds over one child that is ready, every half second unless said otherwise."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.reader, self.writer = os.pipe()
        self.child = Child("gate", 1, process=process, pipe=self.reader, ready=True)
        self.now = 1_000.0
        self.debugged = False
        self.heartbeats = Heartbeats(self.now, traced=lambda _: self.debugged)

    def pass_by(self, seconds: float, *, every: float = ROUND_S, beat: bool = False) -> float | None:
        """Let time pass and return when the child was found to hang, in seconds from now."""
        begun, end = self.now, self.now + seconds
        while self.now < end:
            self.now += every
            if beat:
                os.write(self.writer, b"\n")
                assert self.child.hear() == []
            if self.heartbeats.silent([self.child], self.now, LIMIT_S):
                return self.now - begun
        return None


@pytest.fixture
def rounds(sleeper):
    made = Rounds(sleeper)
    yield made
    os.close(made.reader)
    os.close(made.writer)


def test_who_beats_is_left_alone_and_who_stops_is_found_at_the_limit(rounds):
    assert rounds.pass_by(600, beat=True) is None
    assert rounds.pass_by(600) == LIMIT_S - ROUND_S  # the round in which it was heard counts
    rounds.child.silent_s = LIMIT_S - 1.0
    assert rounds.pass_by(ROUND_S) is None  # one step before
    os.write(rounds.writer, b'{"pattern": "7"}\n')  # whatever is heard is a sign of life
    rounds.child.hear()
    assert rounds.pass_by(LIMIT_S - ROUND_S) is None


def test_one_that_starts_is_waited_for_however_long_that_takes(rounds):
    rounds.child.ready = False
    assert rounds.pass_by(86_400, every=10) is None
    os.write(rounds.writer, b'{"ready": true}\n')
    rounds.child.hear()
    assert rounds.pass_by(600) == LIMIT_S  # from now on


def test_one_that_drains_has_its_own_time(rounds):
    rounds.child.stopping = True
    assert rounds.pass_by(600) is None


def test_one_that_others_replace_still_serves(rounds):
    rounds.child.replaced = True
    assert rounds.pass_by(600) == LIMIT_S


@pytest.mark.parametrize("asleep_s", [30.0, 86_400.0])
def test_a_machine_that_slept_is_no_silence(rounds, asleep_s):
    """Also where the clock went on meanwhile, or the whole family was stopped."""
    rounds.pass_by(LIMIT_S - 2 * STEP_S)
    rounds.now += asleep_s
    assert rounds.heartbeats.silent([rounds.child], rounds.now, LIMIT_S) == []
    assert rounds.pass_by(1.0, beat=True) is None
    assert rounds.pass_by(600) == LIMIT_S - ROUND_S


def test_on_a_machine_so_busy_that_rounds_come_late_each_counts_as_one_step(rounds):
    assert rounds.pass_by(10_000, every=20 * STEP_S) == 20 * LIMIT_S


def test_one_that_a_debugger_holds_is_left_alone(rounds):
    rounds.debugged = True
    assert rounds.pass_by(3_600) is None
    rounds.debugged = False
    assert rounds.pass_by(600) <= LIMIT_S


def test_one_that_was_killed_is_not_killed_again_and_begins_anew(rounds):
    assert rounds.pass_by(600) == LIMIT_S
    rounds.child.kill_hung()
    rounds.heartbeats.note(rounds.child)
    assert rounds.pass_by(600) is None
    summary = rounds.heartbeats.summary()
    assert (summary["count"], summary["last"]["process"]) == ({"gate": 1}, "gate worker 1")
    assert rounds.child.process.wait(60) == -signal.SIGKILL
    again = Child("gate", 1, silent_s=LIMIT_S, hung=True)
    again.start(rounds.writer, [], rounds.now)
    assert (again.silent_s, again.hung) == (0.0, False)
    again.process.kill()
    again.process.wait(60)
    again.close_pipe()


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say who is traced")
def test_the_system_says_whom_a_debugger_holds(sleeper):
    assert not is_traced(sleeper.pid)
    program = (
        "import ctypes, os; ctypes.CDLL(None).ptrace(0, 0, None, None); os.write(1, b'!'); os.read(0, 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as traced:
        assert traced.stdout.read(1) == b"!"  # PTRACE_TRACEME: its parent traces it
        assert is_traced(traced.pid)
        traced.kill()
    assert not is_traced(traced.pid)


@pytest.mark.parametrize(("name", "called"), [("worker0", "worker 0"), ("service", "service")])
def test_a_child_that_falls_silent_is_killed_and_started_again_and_people_hear_of_it(
    family, plan, name, called
):
    ordered = {each: ["beats"] * 3 for each in ("worker0", "worker1", "service")} | {name: ["ready", "beats"]}
    with family(replace(plan, hung_after_s=2.0), **ordered) as running:
        running.start()
        before = running.facts()
        running.hear(f"secondlook: {called} hung: its event loop stood still for 2 s; it is killed")
        running.hear("reported")  # before or after the next one has started
        facts = running.facts()  # at once: the next one may take its time
        assert facts["hung"]["count"] == {called.split()[0]: 1}
        assert facts["hung"]["last"]["process"] == called
        assert facts["workers"][1] == before["workers"][1]
        if not any(line.startswith(f"{name} beats") for line in running.lines):
            running.hear(f"{name} beats")
        assert running.end() == 0
    told = f"reported {called} hung: its event loop stood still for 2 s; it was killed and is started again"
    assert told in running.lines
    killed = [line for line in running.lines if "killed by SIGKILL" in line]
    assert killed == [f"secondlook: {called} was killed by SIGKILL; starting it again at once"]
