"""`secondlook reload`: what it waits for, and what it reports. Whole processes: e2e/test_first_steps.py. 1 s."""

import subprocess
import sys
import time

import pytest

from secondlook.cli.operation.reload import reload
from secondlook.ground.errors import ConfigError
from secondlook.run.supervisor.runfile import write_run_file
from secondlook.run.supervisor.settings_file import digest_of

PROCESS = """
import signal, sys
signal.signal(signal.SIGHUP, lambda *_: print("read again", flush=True))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def process():
    """Something that runs and takes the signal, named as a proxy is."""
    command = [sys.executable, "-c", PROCESS, "secondlook"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


@pytest.fixture
def proxy(tmp_path, monkeypatch, process):
    """A supervisor that answers a SIGHUP with the next of the given facts at each look."""
    config = tmp_path / "proxy.yaml"
    config.write_text(f"state: {tmp_path}\nworkers: 2\n")
    facts = {
        "pid": process.pid,
        "workers": [1, 2],
        "invocation": {
            "config": str(config),
            "overrides": [],
            "state": None,
            "listen": [],
            "review": None,
            "workers": None,
        },
        "settings": {"file": "before", "readings": 3, "reading": False, "refused": None, "in_force": True},
    }
    coming: list[dict[str, object]] = []
    write_run_file(tmp_path, facts)

    def step(_seconds: float = 0.0) -> None:
        facts["settings"] = facts["settings"] | coming.pop(0)
        write_run_file(tmp_path, facts)

    monkeypatch.setattr(time, "sleep", step)
    return config, coming


def test_it_ends_when_the_file_that_it_saw_is_in_force(proxy, process, capsys):
    config, coming = proxy
    coming += [
        {"reading": True},
        {"reading": False, "readings": 4},  # of another file, asked for before
        {"reading": True, "readings": 4},
        {"reading": False, "readings": 5, "file": digest_of(str(config)), "in_force": False},
        {"in_force": True},
    ]
    reload(config)
    assert coming == []
    assert process.stdout.readline() == "read again\n"
    assert capsys.readouterr().out == f"{config} is in force in 2 workers\n"


def test_what_the_supervisor_refuses_is_reported_with_its_reason(proxy, capsys):
    config, coming = proxy
    coming += [{"readings": 4, "refused": "cannot listen on 192.0.2.1:9"}]
    with pytest.raises(SystemExit) as ended:
        reload(config)
    assert ended.value.code == 2
    assert (
        "refused: cannot listen on 192.0.2.1:9; the settings from before stay in force"
        in capsys.readouterr().err
    )


def test_a_variable_that_only_the_proxy_has_is_no_fault(proxy, process, capsys):
    config, coming = proxy
    config.write_text(
        f"state: {config.parent}\nupstream_proxy: {{url: 'http://127.0.0.1:1', password: '${{ITS}}'}}\n"
    )
    coming += [{"readings": 4, "file": digest_of(str(config))}]
    reload(config)
    assert process.stdout.readline() == "read again\n"
    assert "is in force" in capsys.readouterr().out


def test_another_fault_beside_such_a_variable_is_reported_before_anything_is_sent(proxy):
    config, _ = proxy
    config.write_text(f"state: {config.parent}\nvia: '${{ITS}}'\npolcy: 1\n")
    with pytest.raises(ConfigError, match="polcy"):
        reload(config)


def test_without_a_proxy_there_is_nothing_to_reload(tmp_path, capsys):
    (tmp_path / "proxy.yaml").touch()
    (tmp_path / "ca").mkdir()
    with pytest.raises(SystemExit):
        reload(tmp_path / "proxy.yaml", tmp_path)
    assert f"no proxy runs on {tmp_path}" in capsys.readouterr().err
