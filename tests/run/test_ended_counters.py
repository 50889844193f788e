"""What ended processes have counted: added up, in as many files however many have ended."""

import os
import subprocess
import sys

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from secondlook.run.assembly.monitoring.ended_counters import fold_ended


def ended_process():
    process = subprocess.Popen([sys.executable, "-IS", "-c", ""])
    process.wait()
    return process.pid


def count(folder, pid, by):
    """Count as the process of this number would."""
    for kind, name, labels in (
        ("counter", "seen_total", {"kind": "a"}),
        ("counter", "seen_total", {"kind": f"only {by:g}"}),
        ("histogram", "took_bucket", {"le": "0.1"}),
        ("histogram", "took_bucket", {"le": "+Inf"}),
        ("histogram", "took_sum", {}),
        ("gauge_livemax", "state", {}),
    ):
        values = MmapedDict(str(folder / f"{kind}_{pid}.db"))
        metric = name.partition("_")[0]
        values.write_value(mmap_key(metric, name, list(labels), list(labels.values()), "Help."), by, 1.0)
        values.close()


def rendered(folder):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if not line.startswith("#"))


def test_what_ended_processes_counted_still_counts_in_few_files(tmp_path):
    count(tmp_path, os.getpid(), 1.0)
    for by in (2.0, 4.0):
        count(tmp_path, ended_process(), by)
        before = [line for line in rendered(tmp_path) if not line.startswith("state")]
        fold_ended(tmp_path)
        after = rendered(tmp_path)
        assert [line for line in after if not line.startswith("state")] == before
        assert "state 1.0" in after  # what lives says how things are
        numbers = {path.stem.rpartition("_")[2] for path in tmp_path.iterdir()}
        assert numbers == {"0", str(os.getpid())}
    assert 'seen_total{kind="a"} 7.0' in after


def test_a_file_that_a_killed_process_left_half_written_goes_as_well(tmp_path):
    (tmp_path / f"counter_{ended_process()}.db").write_bytes(b"\xff\x7f\0\0" * 8)
    fold_ended(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("counter")] == ["counter_0.db"]


def test_without_room_the_files_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "secondlook.run.assembly.monitoring.ended_counters.reserve_counters", lambda *_: False
    )
    pid = ended_process()
    count(tmp_path, pid, 1.0)
    fold_ended(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"counter_{pid}.db", f"histogram_{pid}.db"}
