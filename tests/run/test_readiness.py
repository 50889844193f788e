"""What systemd is told, on a real socket of either kind (0.1 s)."""

import os
import socket

import pytest

from secondlook.run.supervisor.readiness import tell_systemd


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears_each_line(tmp_path, monkeypatch, abstract):
    name = f"@secondlook-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        tell_systemd("READY=1", "STATUS=serving")
        assert manager.recv(1000) == b"READY=1\nSTATUS=serving"


def test_nobody_who_listens_is_no_trouble(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    tell_systemd("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    tell_systemd("READY=1")
