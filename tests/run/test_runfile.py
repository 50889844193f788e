"""`run.json` and the lock on a state folder."""

import json
import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from secondlook.run.supervisor.runfile import (
    StateLock,
    is_of_a_proxy,
    last_run,
    process_mark,
    read_run_file,
    remove_run_file,
    write_run_file,
)


def test_is_written_whole_for_its_owner_alone(tmp_path):
    write_run_file(tmp_path, {"pid": os.getpid(), "proxy": "127.0.0.1:1"})
    write_run_file(tmp_path, {"pid": os.getpid(), "proxy": "127.0.0.1:2"})
    path = tmp_path / "run.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["proxy"] == "127.0.0.1:2"
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_that_of_a_dead_process_counts_not(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    write_run_file(tmp_path, {"pid": child.pid})
    assert read_run_file(tmp_path) is None


def test_that_of_a_stranger_with_the_same_number_counts_not(tmp_path):
    write_run_file(tmp_path, {"pid": 1})  # init is no Second Look
    assert read_run_file(tmp_path) is None


def test_that_of_another_proxy_with_the_same_number_counts_not(tmp_path):
    """As in a container, where the proxy of before and the command of now are both process 1."""
    with _secondlook() as before, _secondlook() as now:
        mark = process_mark(before.pid)
        write_run_file(tmp_path, {"pid": before.pid, "process": mark})
        assert read_run_file(tmp_path) == {"pid": before.pid, "process": mark}
        write_run_file(tmp_path, {"pid": now.pid})  # as an earlier version wrote it
        assert read_run_file(tmp_path) == {"pid": now.pid}
        write_run_file(tmp_path, {"pid": now.pid, "process": "another boot 1"})
        assert read_run_file(tmp_path) is None


def test_that_of_one_that_ended_counts_not_though_nobody_has_waited_for_it(tmp_path):
    """As in a container whose first process waits for no orphans."""
    with _secondlook() as proxy:
        facts = {"pid": proxy.pid, "process": process_mark(proxy.pid)}
        write_run_file(tmp_path, facts)
        assert read_run_file(tmp_path) == facts
        proxy.kill()
        os.waitid(os.P_PID, proxy.pid, os.WEXITED | os.WNOWAIT)
        assert process_mark(proxy.pid) is None
        assert read_run_file(tmp_path) is None


@contextmanager
def _secondlook():
    """A process whose command line is one of ours."""
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", "secondlook"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        child.stdout.readline()  # before its program runs it has no command line
        yield child
    finally:
        child.communicate(b"\n")


def test_a_mark_is_of_this_process_and_boot():
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert process_mark(os.getpid()) == process_mark(os.getpid())
    assert process_mark(os.getpid()).startswith(f"{boot} ")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert process_mark(child.pid) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', "\0"])
def test_damaged_files_count_not(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    assert read_run_file(tmp_path) is None


def test_only_the_writer_removes_it(tmp_path):
    write_run_file(tmp_path, {"pid": os.getppid()})
    remove_run_file(tmp_path)
    assert (tmp_path / "run.json").exists()


def test_what_ran_last_is_known_after_its_end(tmp_path):
    assert last_run(tmp_path) is None
    write_run_file(tmp_path, {"pid": os.getpid(), "proxy": "127.0.0.1:1"})
    remove_run_file(tmp_path)
    assert not (tmp_path / "run.json").exists()
    assert last_run(tmp_path) == {"pid": os.getpid(), "proxy": "127.0.0.1:1"}
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    write_run_file(tmp_path, {"pid": child.pid})  # killed since
    assert last_run(tmp_path) == {"pid": child.pid}


def test_one_lock_a_folder(tmp_path):
    lock = StateLock(tmp_path)
    with pytest.raises(BlockingIOError):
        StateLock(tmp_path)
    lock.release()
    StateLock(tmp_path).release()


def test_a_folder_is_a_proxys_from_the_first_thing_that_one_does(tmp_path):
    assert not is_of_a_proxy(tmp_path / "none")
    assert not is_of_a_proxy(tmp_path)
    lock = StateLock(tmp_path)
    assert is_of_a_proxy(tmp_path)
    lock.release()
    (tmp_path / "lock").write_bytes(b"123\n")  # a server's
    assert not is_of_a_proxy(tmp_path)
    (tmp_path / "ca").mkdir()
    assert is_of_a_proxy(tmp_path)
