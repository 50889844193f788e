"""A child dies with its parent, whatever ends that, and on every system."""

import subprocess
import sys

import pytest

CHILD = """
import os, sys, time
sys.platform = sys.argv[1]
from secondlook.run.supervisor.parent_death import tether
tether(os.getppid() if sys.argv[2] == "its own" else os.getpid())
print("tethered", flush=True)
time.sleep(600)
"""
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {CHILD!r}, sys.argv[1], "its own"])
time.sleep(600)
"""


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_a_child_dies_with_its_parent(system):
    if system == "linux" and sys.platform != "linux":
        pytest.skip("it is Linux that sends the signal")
    with subprocess.Popen([sys.executable, "-c", PARENT, system], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"tethered\n"
        parent.kill()
        assert parent.communicate(timeout=100) == (b"", None)  # the child had this pipe open too


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_a_child_whose_parent_is_gone_already_ends_at_once(system):
    if system == "linux" and sys.platform != "linux":
        pytest.skip("it is Linux that sends the signal")
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, system, "another"],
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
    if system == "linux":  # elsewhere the thread that watches may end it first
        assert b"the supervisor is gone" in ended.stderr
