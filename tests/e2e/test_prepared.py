"""Prepared processes are what the real ones are: the stories that use them say nothing otherwise (5 s)."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e import prepared
from e2e.namespaces import ip
from e2e.processes import SECONDLOOK, Proxy

pytestmark = pytest.mark.skipif(not prepared.usable(), reason="processes are started as always here")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["rules", "list", "--state", "state", "--json"],
        ["no-such-command"],
        ["check", "--state", "not/../there", "-c", "/nowhere/proxy.yaml", "http://x.example/"],
        ["password"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_says_and_does_the_same(arguments, tmp_path):
    options = {"cwd": tmp_path, "env": {**os.environ, "COLUMNS": "80"}, "input": "not the same twice\n"}
    began = [*SECONDLOOK, *arguments]
    real = subprocess.run(began, capture_output=True, text=True, check=False, timeout=120, **options)
    ours = prepared.run(began, timeout=120, **options)
    salted = arguments == ["password"]
    assert (ours.returncode, ours.stderr) == (real.returncode, real.stderr)
    assert (ours.stdout == real.stdout) is not salted


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_it_is_a_child_with_the_descriptors_it_was_given(tmp_path):
    """A pipe of ours ends when the process does, and nothing else holds it."""
    reader, writer = os.pipe()
    with prepared.Prepared(
        [sys.executable, "-P", "-m", "secondlook.run.supervisor_event"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[writer], env={**os.environ, "NOTIFY_SOCKET": ""},
    ) as process:  # fmt: skip
        os.close(writer)
        assert _parent(process.pid) == os.getpid()
        process.kill()
        assert process.wait(60) == -9
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_the_family_of_a_proxy_is_forked(start_proxy):
    proxy: Proxy = start_proxy("workers: 1\n")
    for pid in (proxy.facts["pid"], proxy.facts["service"], *proxy.facts["workers"]):
        assert prepared.__file__ in Path(f"/proc/{pid}/cmdline").read_text()
    assert _parent(proxy.facts["service"]) == proxy.facts["pid"]


def test_other_commands_start_as_always():
    assert prepared.Prepared([sys.executable, "-c", "pass"]).wait(60) == 0


@pytest.mark.parametrize(("kind", "flag"), [("net", os.CLONE_NEWNET), ("mnt", os.CLONE_NEWNS)])
def test_a_thread_in_another_namespace_has_its_processes_forked_there(kind, flag, tmp_path):
    """And so is what they start themselves."""
    if os.geteuid() != 0:
        pytest.skip("another namespace needs root")
    prepared.run([*SECONDLOOK, "--version"])  # from now on there is a keeper, where all are
    config = tmp_path / "proxy.yaml"
    config.write_text("workers: 1\nfeeds: []\n")

    def begin() -> None:
        os.unshare(flag)
        if kind == "net":
            ip("link", "set", "lo", "up")
        proxy = Proxy(tmp_path / "state", config)
        try:
            here = Path(f"/proc/thread-self/ns/{kind}").stat()
            for pid in (proxy.facts["pid"], proxy.facts["service"], *proxy.facts["workers"]):
                assert prepared.__file__ in Path(f"/proc/{pid}/cmdline").read_text()
                assert os.path.samestat(Path(f"/proc/{pid}/ns/{kind}").stat(), here)
            assert not os.path.samestat(Path(f"/proc/self/ns/{kind}").stat(), here)
        finally:
            proxy.stop()

    with ThreadPoolExecutor(1) as threads:
        try:
            threads.submit(begin).result()
        except PermissionError:
            pytest.skip("another namespace is not allowed here")
