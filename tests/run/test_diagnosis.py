"""The checks of `doctor` as a whole: each is made, whatever becomes of the others."""

import asyncio
import os
import socket

import pytest

from secondlook.config.agent import Settings
from secondlook.run.authority import make_authority
from secondlook.run.diagnosis import diagnosis
from secondlook.run.diagnosis.diagnosis import diagnose


def found(state, **given):
    settings = Settings.model_validate(
        {"state": state, "listen": ["127.0.0.1:0"], "review": {"enabled": False}, **given}
    )

    async def all_of_them():
        return [finding async for finding in diagnose(settings)]

    return {finding.check: finding for finding in asyncio.run(all_of_them())}


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The only folder that programs are looked for in."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(program, text):
    program.write_text(text)
    program.chmod(0o755)


def test_a_check_that_breaks_is_a_finding_and_the_others_are_made(tmp_path, programs):
    make_authority(tmp_path / "ca", "ecdsa")
    put(programs / "openssl", "no program")
    findings = found(tmp_path)
    assert findings["ca"].result == "problem"
    assert findings["ca"].text.startswith("this cannot be looked at: ")
    assert str(programs / "openssl") in findings["ca"].text
    assert {"running", "disk", "ledger", "pattern", "clock", "bypass"} <= set(findings)


def test_a_state_that_is_no_folder_does_not_end_the_checks(tmp_path):
    (tmp_path / "file").touch()
    findings = found(tmp_path / "file")
    assert findings["disk"].result == findings["key"].result == "problem"
    assert {"clock", "bypass"} <= set(findings)


def test_a_program_that_hangs_holds_nothing_up(tmp_path, programs, monkeypatch):
    monkeypatch.setattr(diagnosis, "TRUST_TIMEOUT_S", 0.05)
    make_authority(tmp_path / "ca", "ecdsa")
    os.mkfifo(tmp_path / "pipe")
    put(programs / "openssl", f"#!/bin/sh\nread -r line < {tmp_path / 'pipe'}\n")
    finding = found(tmp_path)["ca"]
    assert finding.result == "unknown"
    assert finding.text.endswith("openssl hangs")


def test_what_to_do_about_a_port_depends_on_why_it_cannot_be_had(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = found(tmp_path, listen=[f"127.0.0.1:{other.getsockname()[1]}"])["port"]
    clients = {"networks": ["192.0.2.0/24"]}
    nowhere = found(tmp_path, listen=["192.0.2.1:8081"], clients=clients)["port"]
    assert (taken.result, nowhere.result) == ("problem", "problem")
    assert taken.remedy.startswith("stop the program that uses it")
    assert nowhere.remedy == "see whether this machine has that address, or set `listen` to another"
