"""A family on a machine that has no descriptor, process or room left: nobody ends for it (3 s).

The limits are the system's own, set on the supervisor while it runs.
"""

import errno
import json
import os
import resource
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from secondlook.run.supervisor.child import Child
from secondlook.run.supervisor.settings_file import reading_ended

NO_DESCRIPTOR = (resource.RLIMIT_NOFILE, 3)  # those that are open stay so
NO_ROOM = (resource.RLIMIT_FSIZE, 0)


def test_a_worker_that_cannot_be_started_is_tried_again_and_the_others_go_on(family):
    with family() as running:
        running.start()
        before = running.facts()
        with running.short_of(*NO_DESCRIPTOR):
            os.kill(before["workers"][0], signal.SIGKILL)
            for _ in range(3):
                told = running.hear("secondlook: worker 0 cannot be started")
                assert told.startswith(
                    "secondlook: worker 0 cannot be started (Too many open files); starting it again in "
                )
        running.hear("worker0 ready")
        after = running.facts_when(
            lambda facts: len(facts["workers"]) == 2 and facts["workers"][0] != before["workers"][0]
        )
        assert (after["workers"][1], after["service"]) == (before["workers"][1], before["service"])
        assert running.end() == 0


def test_a_service_that_cannot_be_started_is_tried_again_too(family):
    with family() as running:
        running.start()
        before = running.facts()
        with running.short_of(*NO_DESCRIPTOR):
            os.kill(before["service"], signal.SIGKILL)
            running.hear("secondlook: service cannot be started (Too many open files)")
        running.hear("service ready")
        assert running.end() == 0


def test_a_family_that_can_start_nobody_says_so_and_ends(family):
    """What is short now may be there in a moment: it is tried as often as a child that ends."""
    with family(worker1=["slow"]) as running:
        while not any(line.startswith("worker1 slow") for line in running.lines):
            running.hear("worker1 slow")
        pid = int(running.lines[-1].split()[2])
        with running.short_of(*NO_DESCRIPTOR):
            os.kill(pid, signal.SIGKILL)
            running.lines += running.process.stdout.read().splitlines()
            assert running.process.wait(60) == 1
    assert (
        "secondlook: worker 1 cannot be started (Too many open files) 5 times before it was ready; stopping"
        in running.lines
    )


@pytest.mark.parametrize(
    ("short", "why"), [(NO_DESCRIPTOR, "Too many open files"), (NO_ROOM, "File too large")]
)
def test_a_configuration_that_cannot_be_read_now_is_refused_and_read_when_asked_again(
    family, plan, short, why
):
    with family() as running:
        running.start()
        before = running.facts()
        (running.orders / "plan").write_text(json.dumps(asdict(plan)))
        with running.short_of(*short):
            running.process.send_signal(signal.SIGHUP)
            told = f"the new configuration is refused: it cannot be read now: {why}"
            running.hear(f"secondlook: {told}; the old one stays in force")
        # what asked for it waits for this in `run.json`, which could not be written then
        after = running.facts_when(lambda facts: reading_ended(facts, 0, None))
        assert after["settings"]["refused"] == f"it cannot be read now: {why}"
        assert (after["service"], after["workers"]) == (before["service"], before["workers"])
        running.process.send_signal(signal.SIGHUP)
        running.hear("secondlook: the configuration is read again")
        assert running.end() == 0


def test_a_configuration_that_was_read_and_cannot_be_handed_on_is_refused(family, plan, tmp_path):
    path = tmp_path / "gateway.sock"
    read = json.dumps(asdict(replace(plan, endpoints=replace(plan.endpoints, gateway=str(path)))))
    with family() as running:
        running.start()
        before = running.facts()
        (running.orders / "plan").write_text(read)
        with running.short_of(resource.RLIMIT_FSIZE, len(read)):  # with the sockets' numbers it is longer
            running.process.send_signal(signal.SIGHUP)
            why = "it cannot be handed on to new processes: File too large"
            running.hear(f"secondlook: the new configuration is refused: {why}; the old one stays in force")
        after = running.facts_when(lambda facts: facts["settings"]["refused"] == why)
        assert (after["workers"], after["gateway"]) == (before["workers"], None)
        assert not path.exists()
        os.kill(after["workers"][0], signal.SIGKILL)
        running.hear("worker0 ready")  # by the old plan
        assert running.end() == 0


def test_facts_that_could_not_be_written_are_written_when_there_is_room_again(family):
    with family() as running:
        running.start()
        before = running.facts()
        (running.orders / "worker1").write_text("slow")  # it speaks once: nothing later has it written
        with running.short_of(*NO_ROOM):
            os.kill(before["workers"][1], signal.SIGKILL)
            running.hear(f"secondlook: cannot write {running.state / 'run.json'}: File too large")
            assert running.facts() == before
        after = running.facts_when(lambda facts: facts["workers"] != before["workers"])
        assert len(after["workers"]) == 2
        assert running.end() == 0
    told = [line for line in running.lines if "cannot write" in line]
    assert len(told) == 1  # though it was tried each round


def test_facts_that_cannot_be_set_aside_do_not_change_how_it_ends(family):
    with family() as running:
        running.start()
        (running.state / "last-run.json").mkdir()
        assert running.end() == 0
    assert any(line.startswith("secondlook: cannot set ") for line in running.lines)


def test_a_state_that_cannot_be_prepared_is_said_at_the_start(family, plan):
    metrics = Path(plan.state) / "metrics"
    metrics.write_text("no folder")
    with family() as running:
        out = running.process.stdout.read()
        assert running.process.wait(60) == 1
    assert out == f"secondlook: cannot start: [Errno 17] File exists: '{metrics}'\n"


def test_a_child_that_nobody_can_listen_to_is_ended_and_tried_again(supervisor, monkeypatch, capfd):
    monkeypatch.setattr(sys, "executable", "/bin/true")

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # epoll_ctl(2): too many are watched

    monkeypatch.setattr(supervisor._selector, "register", refuse)
    child = Child("worker", 0)
    supervisor.children = [child]
    for again in ("at once", "in 0.2 s"):
        child.start_after = 0.0
        supervisor._start_due()
        assert (child.process, child.pipe, supervisor._listened) == (None, None, {})
        told = f"worker 0 cannot be started (No space left on device); starting it again {again}"
        assert capfd.readouterr().err == f"secondlook: {told}\n"
