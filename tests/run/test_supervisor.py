"""The family: started together, each started again when it ends, replaced and drained in order (4 s)."""

import json
import os
import signal
import socket
import stat
import subprocess
import time
from dataclasses import asdict, replace

import pytest

from secondlook.run.supervisor.child import Child
from secondlook.run.supervisor.runfile import last_run
from secondlook.run.supervisor.supervisor import _TICK_S, SERVICE_GRACE_S


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
        assert running.process.wait(60) == 1
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
        assert running.process.wait(60) == 1
    assert "secondlook: service ended with status 1 5 times before it was ready; stopping" in running.lines
    assert len([line for line in running.lines if line.startswith("service 1")]) == 5


def test_a_second_signal_ends_who_does_not_listen(family):
    with family(worker0=["deaf"]) as running:
        running.start()
        running.process.send_signal(signal.SIGINT)
        running.hear("worker1 ends")
        assert running.end(signal.SIGINT) == 0


def connects(host, port):
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # it waited as the socket was closed
    return True


def test_who_connects_after_the_workers_have_ended_is_refused(family):
    with family(service=["deaf"]) as running:
        running.start()
        host, _, port = running.facts()["proxy"].rpartition(":")
        socket.create_connection((host, int(port))).close()
        running.process.send_signal(signal.SIGTERM)
        while not {"worker0 ends", "worker1 ends"} <= set(running.lines):
            running.hear("worker")
        until = time.monotonic() + 60
        while connects(host, int(port)):  # the last worker says so before it ends
            assert time.monotonic() < until
        assert running.process.poll() is None  # who is refused is not refused for its end
        assert running.end(signal.SIGTERM) == 0


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


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_a_service_that_waits_for_the_old_one_to_end_costs_no_rounds(supervisor, sleeper):
    old, new = Child("service", 0, process=sleeper), Child("service", 0)
    supervisor.children = [old, new]
    old.stop(time.monotonic(), SERVICE_GRACE_S)
    supervisor._start_due()
    assert not new.alive
    assert supervisor._patience() == _TICK_S
    sleeper.wait(20)
    supervisor._reap()
    assert supervisor.children == [new]
    assert supervisor._patience() == 0.0


def test_what_waits_to_be_started_again_is_not_started_once_others_replace_it(supervisor, sleeper, plan):
    alive, waiting = (
        Child("worker", 0, process=sleeper),
        Child("worker", 1, start_after=time.monotonic() + 30),
    )
    supervisor.children = [alive, waiting]
    supervisor._apply(plan)
    assert alive.replaced
    assert not alive.stopping
    assert waiting not in supervisor.children
    assert [(child.role, child.replaced) for child in supervisor.children] == [
        ("worker", True),
        ("service", False),
        ("worker", False),
        ("worker", False),
    ]


def test_a_worker_that_speaks_after_the_service_has_ended_is_heard(supervisor):
    reader, writer = os.pipe()
    worker = Child("worker", 0, pipe=reader)
    supervisor.children, supervisor.draining, supervisor.announced = [worker], True, True
    os.write(writer, b'{"pattern": "8"}\n')
    supervisor._hear(worker)
    assert worker.facts == {"pattern": "8"}
    os.close(writer)
    worker.close_pipe()
