"""The supervisor as a process of its own, with small children that do as they are ordered. 5 s.

A child is this file's `CHILD` instead of Python: it reads, from a file named after it, what to do at each start.
"""

import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from secondlook.run.supervisor.main import make_authority, prepare_metrics
from secondlook.run.supervisor.plan import Endpoints, Invocation, Plan, write_plan
from secondlook.run.supervisor.runfile import StateLock, last_run, read_run_file

CHILD = """#!{python} -IS
import json, os, signal, sys, time
orders = "{orders}"
module, arguments = sys.argv[3], sys.argv[4:]
def say(text):
    os.write(1, (text + "\\n").encode())
def order(name, default):
    path = os.path.join(orders, name)
    if not os.path.exists(path):
        return default
    with open(path) as file:
        first, *rest = file.read().split("\\n")
    with open(path, "w") as file:
        file.write("\\n".join(rest))
    return first or default
if module == "secondlook.run.reload":
    asked = json.load(sys.stdin)
    with open(os.path.join(orders, "plan")) as file:
        text = file.read()
    sys.stdout.write(text)
    sys.exit(0 if text.startswith("{{") else 2)
if module == "secondlook.run.refused":
    say("reported")
    sys.exit(0)
if module == "secondlook.run.authority":
    say("authority " + arguments[1])
    sys.exit(int(order("authority", "0")))
plan, writer, index, role = int(arguments[0]), int(arguments[1]), arguments[2], arguments[3]
facts = json.loads(os.pread(plan, os.fstat(plan).st_size, 0))
name = role if role == "service" else role + index
what = order(name, "ready")
about = " ".join([name, what, str(os.getpid()), str(facts["commands"])])
if what.isdigit():
    say(about)
    sys.exit(int(what))
def end(*_):
    say(name + " ends")
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if what == "deaf" else end)
os.write(writer, json.dumps({{"pattern": "7", "token": "t" + index}}).encode() + b"\\n")
if what != "slow":
    os.write(writer, b'{{"ready": true}}\\n')
say(about)
while True:
    signal.pause()
"""

DRIVER = """
import sys
from secondlook.run.supervisor import child, main
child._FIRST_DELAY_S = 0.0
main._TICK_S = 0.05
sys.executable = sys.argv.pop(1)
main.main()
"""


class Family:
    """A supervisor that runs, and what it and its children wrote so far."""

    def __init__(self, process, folder, state, plan):
        self.process, self.orders, self.state, self.plan = process, folder, state, plan
        self.lines = []

    def hear(self, beginning):
        """Give the next line that begins so; what comes before it is kept in `lines`."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return line.rstrip("\n")
        raise AssertionError(f"no line {beginning!r} after {self.lines}")

    def start(self):
        self.hear("pattern")
        return self

    def end(self, *signals):
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(20)

    def facts(self):
        return read_run_file(self.state)


@pytest.fixture
def plan(tmp_path):
    state = tmp_path / "state"
    (state / "ca").mkdir(parents=True)
    return Plan(
        settings=json.dumps({"mode": "regular", "review": {}}),
        state=str(state),
        workers=2,
        endpoints=Endpoints(proxy=(("127.0.0.1", 0),), review=None, embedded=False),
        invocation=Invocation(config="proxy.yaml"),
        commands="some.module",
    )


@pytest.fixture
def family(tmp_path, plan):
    orders = tmp_path / "orders"
    orders.mkdir()
    child = tmp_path / "child"
    child.write_text(CHILD.format(python=os.path.realpath(sys.executable), orders=orders))
    child.chmod(0o755)

    @contextmanager
    def run(plan=plan, **ordered):
        for name, what in ordered.items():
            (orders / name).write_text("\n".join(what))
        descriptor = write_plan(plan)
        command = [sys.executable, "-c", DRIVER, str(child), str(descriptor)]
        environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command,
            pass_fds=(descriptor,),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            os.close(descriptor)
            try:
                yield Family(process, orders, Path(plan.state), plan)
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    process.send_signal(signal.SIGTERM)
                    process.stdout.read()

    return run


def test_it_starts_announces_and_drains_workers_before_the_service(family):
    with family() as running:
        running.start()
        facts = running.facts()
        assert facts["pid"] == running.process.pid
        assert facts["pattern"] == "7"
        assert facts["mode"] == "regular"
        assert len(facts["workers"]) == 2
        assert running.end() == 0
    ends = [line for line in running.lines if line.endswith(" ends")]
    assert sorted(ends[:2]) == ["worker0 ends", "worker1 ends"]
    assert ends[2:] == ["service ends"]
    assert running.facts() is None
    assert last_run(running.state)["workers"] == facts["workers"]


def test_nothing_is_announced_before_everybody_is_ready(family):
    with family(worker1=["slow"]) as running:
        pids = {}
        while len(pids) < 3:
            name, _, pid, _ = running.hear(("service ", "worker")).split()
            pids[name] = int(pid)
        (running.orders / "plan").write_text("refused")
        running.process.send_signal(signal.SIGHUP)
        running.hear("secondlook: ")  # by now it heard of all three
        assert not [line for line in running.lines if line.startswith("proxy ")]
        assert running.facts() is None
        os.kill(pids["worker1"], signal.SIGKILL)
        running.start()
        assert "secondlook: worker 1 was killed by SIGKILL; starting it again at once" in running.lines
        assert running.end() == 0


@pytest.mark.parametrize(("name", "called"), [("worker0", "worker 0"), ("service", "service")])
def test_a_child_that_ends_unasked_is_started_again_and_the_others_go_on(family, name, called):
    with family() as running:
        running.start()
        before = running.facts()
        old = before["service"] if name == "service" else before["workers"][0]
        os.kill(old, signal.SIGKILL)
        assert running.hear("secondlook: ").startswith(
            f"secondlook: {called} was killed by SIGKILL; starting it again"
        )
        new = int(running.hear(f"{name} ready").split()[2])
        expected = {"service": before["service"], "workers": before["workers"]} | (
            {"service": new} if name == "service" else {"workers": [new, before["workers"][1]]}
        )
        while {key: running.facts()[key] for key in expected} != expected:
            os.sched_yield()  # until the supervisor has heard of it
        assert running.end() == 0


def test_a_child_that_cannot_start_ends_the_start(family):
    with family(worker1=["3"]) as running:
        running.lines += running.process.stdout.read().splitlines()
        assert running.process.wait(20) == 1
    assert "secondlook: worker 1 cannot start; stopping" in running.lines
    assert running.facts() is None
    assert not [line for line in running.lines if line.startswith("proxy ")]


def test_once_it_was_announced_nothing_ends_the_family(family):
    with family() as running:
        running.start()
        (running.orders / "worker1").write_text("3\n3\nready")
        os.kill(running.facts()["workers"][1], signal.SIGKILL)
        running.hear("worker1 ready")
        assert running.end() == 0
    assert not [line for line in running.lines if line.endswith("; stopping")]


def test_a_child_that_never_gets_ready_ends_the_start_after_five_times(family):
    with family(service=["1"] * 9) as running:
        running.lines += running.process.stdout.read().splitlines()
        assert running.process.wait(20) == 1
    assert "secondlook: service ended with status 1 5 times before it was ready; stopping" in running.lines
    assert len([line for line in running.lines if line.startswith("service 1")]) == 5


def test_a_second_signal_ends_who_does_not_listen(family):
    with family(worker0=["deaf"]) as running:
        running.start()
        running.process.send_signal(signal.SIGINT)
        running.hear("worker1 ends")
        assert running.end(signal.SIGINT) == 0


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


def test_a_new_configuration_gets_new_children_before_the_old_workers_end(family, plan):
    with family() as running:
        running.start()
        before = running.facts()
        changed = replace(plan, workers=1, commands=None, settings='{"mode": "upstream", "review": {}}')
        (running.orders / "plan").write_text(json.dumps(asdict(changed)))
        del running.lines[:]
        running.process.send_signal(signal.SIGHUP)
        running.hear("worker1 ends")
        while not {"worker0 ends", "worker1 ends"} <= set(running.lines):
            running.hear("worker")
        old = {str(pid) for pid in (before["service"], *before["workers"])}  # theirs may come this late
        started = [line for line in running.lines if " ready " in line and line.split()[2] not in old]
        assert {line.split()[0] for line in started} == {"service", "worker0"}
        # what runs commands is the starter's to say, not the configuration's
        assert {line.split()[3] for line in started} == {"some.module"}
        assert running.lines.index(started[-1]) < running.lines.index("worker1 ends")
        assert running.end() == 0
    after = last_run(running.state)
    assert after["mode"] == "upstream"
    assert after["proxy"] == before["proxy"] or after["listen"] != before["listen"]
    assert not {*after["workers"]} & {*before["workers"]}


def test_gate_workers_are_of_the_family_and_their_socket_goes_with_it(family, plan, tmp_path):
    path = tmp_path / "gateway.sock"
    endpoints = replace(plan.endpoints, proxy=(), gateway=str(path), icap=("127.0.0.1", 0))
    alone = replace(plan, workers=0, gates=2, endpoints=endpoints, settings='{"mode": "none", "review": {}}')
    with family(alone) as running:
        assert running.hear("proxy ") == "proxy    off  (mode none)"
        facts = running.start().facts()
        assert (facts["proxy"], facts["listen"], facts["workers"]) == (None, [], [])
        assert f"gateway  {path}  icap {facts['icap']}  (workers 2)" in running.lines
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        os.kill(facts["gates"][1], signal.SIGKILL)
        assert running.hear("secondlook: ").startswith("secondlook: gate worker 1 was killed by SIGKILL")
        running.hear("gate1 ready")
        before = path.stat().st_ino
        (running.orders / "plan").write_text(json.dumps(asdict(replace(alone, gates=1))))
        running.process.send_signal(signal.SIGHUP)
        while not {"gate0 ends", "gate1 ends"} <= set(running.lines):
            running.hear("gate")
        assert path.stat().st_ino == before  # who waits there is served by the new ones
        without = replace(alone, gates=0, workers=1, endpoints=plan.endpoints)
        (running.orders / "plan").write_text(json.dumps(asdict(without)))
        running.process.send_signal(signal.SIGHUP)
        running.hear("worker0 ready")
        running.hear("gate0 ends")
        assert not path.exists()
        (running.orders / "plan").write_text(json.dumps(asdict(alone)))
        running.process.send_signal(signal.SIGHUP)
        running.hear("worker0 ends")
        assert path.exists()
        assert running.end() == 0
    assert not path.exists()


def test_a_socket_that_cannot_be_is_told_before_anything_starts(family, plan, tmp_path):
    endpoints = replace(plan.endpoints, gateway=str(tmp_path / "none" / "gateway.sock"))
    with family(replace(plan, gates=1, endpoints=endpoints)) as running:
        out = running.process.stdout.read()
        assert running.process.wait(20) == 1
    assert f"cannot listen at {endpoints.gateway}: No such file or directory; choose another place" in out


def test_two_never_run_on_one_state(family, plan):
    lock = StateLock(Path(plan.state))
    try:
        with family() as second:
            out = second.process.stdout.read()
            assert second.process.wait(20) == 1
    finally:
        lock.release()
    assert out.startswith(f"secondlook: another Second Look runs on {plan.state}; stop it")


def test_no_authority_no_start(family):
    with family(authority=["1"]) as running:
        out = running.process.stdout.read()
        assert running.process.wait(20) == 1
    assert "authority ecdsa" in out
    assert "secondlook: cannot make the certificate authority in" in out


def test_an_authority_that_is_whole_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("secondlook.run.supervisor.main.whole", lambda folder, name: True)
    monkeypatch.setattr(subprocess, "run", None)
    assert make_authority(tmp_path, "ecdsa")


def test_old_counters_go_before_a_start(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "elsewhere")
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").touch()
    prepare_metrics(folder)
    assert list(folder.iterdir()) == []
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(folder)
