"""What has to be in place before the family starts (1 s)."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from secondlook.run.supervisor.main import make_authority, prepare_metrics
from secondlook.run.supervisor.runfile import StateLock


def test_a_socket_that_cannot_be_is_told_before_anything_starts(family, plan, tmp_path):
    endpoints = replace(plan.endpoints, gateway=str(tmp_path / "none" / "gateway.sock"))
    with family(replace(plan, gates=1, endpoints=endpoints)) as running:
        out = running.process.stdout.read()
        assert running.process.wait(60) == 1
    assert f"cannot listen at {endpoints.gateway}: there is no folder {tmp_path / 'none'}; choose" in out


def test_two_never_run_on_one_state(family, plan):
    lock = StateLock(Path(plan.state))
    try:
        with family() as second:
            out = second.process.stdout.read()
            assert second.process.wait(60) == 1
    finally:
        lock.release()
    assert out.startswith(f"secondlook: another Second Look runs on {plan.state}; stop it")


def test_no_authority_no_start(family):
    with family(authority=["1"]) as running:
        out = running.process.stdout.read()
        assert running.process.wait(60) == 1
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
