"""The state folder and the program's output on a full disk: a small tmpfs, filled to the last byte."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.processes import Answer, Proxy, wait_for
from serverkit.ports import free_port

JOURNAL_KIB = 64


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """Mount a small tmpfs; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "secondlook", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        assert not os.environ.get("CI"), done.stderr
        pytest.skip(f"cannot mount: {done.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave not one free byte on a disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        block = bytes(1 << 20)
        while block:
            if out.write(block) < len(block):
                block = block[: len(block) // 2]
    with ballast.open("ab", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(bytes(4096)):
            pass
    assert os.statvfs(disk).f_bavail == 0
    return ballast


def refused_by_ledger(answer: Answer) -> bool:
    """Whether a request was refused because nothing could store its flag."""
    return answer.status == 403 and "stage=ledger" in answer.headers.get("x-second-look", "")


def children(proxy: Proxy) -> set[int]:
    """Give the supervisor's children, its keeper (`e2e.prepared`) too; run.json cannot be written on a full disk."""
    tasks = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children")
    return {int(pid) for pid in tasks.read_text().split()}


@pytest.mark.timeout(600)
def test_a_full_disk_costs_flags_the_ledger_then_the_journal_then_the_request(
    start_proxy, plain_origin, tmp_path
):
    with small_disk(tmp_path / "disk", 64) as disk:
        proxy: Proxy = start_proxy(
            "workers: 2\n"
            "servers:\n"
            f"  intranet: [{{url: 'http://127.0.0.1:{free_port()}', name: dead}}]\n"
            f"ledger: {{journal: {JOURNAL_KIB} KiB}}\n"
            "recheck: {first: 1h}\n",
            folder=disk,  # its log, too, goes to the full disk
        )
        serving = {proxy.facts["service"], *proxy.facts["workers"]}
        family = children(proxy)
        assert family >= serving
        assert proxy.curl(plain_origin.url("/before")).status == 200
        ballast = fill(disk)

        let_through = {plain_origin.url("/before")}
        number = 0

        def is_refused() -> bool:
            nonlocal number
            number += 1
            url = plain_origin.url(f"/full/{number}")
            seen = len(plain_origin.requests)
            answer = proxy.curl(url)
            if answer.status == 200:
                let_through.add(url)
                return False
            assert refused_by_ledger(answer), answer
            assert len(plain_origin.requests) == seen, "refused before the origin saw it"
            return True

        most = 4 * JOURNAL_KIB  # a record has about a kilobyte, and each worker its journal
        refused_in_turn = 0
        while refused_in_turn < 5:
            refused_in_turn = refused_in_turn + 1 if is_refused() else 0
            assert number < most, "the journals never filled up"
        assert len(let_through) > JOURNAL_KIB // 4, "the journal took some"
        wait_for(
            lambda: (
                any("cannot be written down" in alert for alert in proxy.json("status")[0]["alerts"]) or None
            ),
            "the worker whose journal is full to answer `status`",
        )
        # what needs no record goes on: a block, and nobody died of it
        assert "stage=pattern" in proxy.curl("http://malware.secondlook.test/").headers["x-second-look"]
        facts = proxy.fresh_facts()
        assert {facts["service"], *facts["workers"]} == serving, proxy.output
        assert children(proxy) == family, "nobody died of it"

        # a crash on top: worker and service come back on the full disk and go on
        os.kill(proxy.facts["workers"][0], signal.SIGKILL)
        os.kill(proxy.facts["service"], signal.SIGKILL)
        wait_for(lambda: len(children(proxy) - family) == 2 or None, "another worker and service")
        new_family = children(proxy)
        assert [is_refused() for _ in range(10)].count(True), "the disk is full still"
        assert children(proxy) == new_family, "nobody died of it"

        ballast.unlink()
        wait_for(
            lambda: let_through <= {entry["url"] for entry in proxy.json("queue", "list")} or None,
            "the flags from the journal",
        )
        assert proxy.curl(plain_origin.url("/after")).status == 200
        proxy.stop()
