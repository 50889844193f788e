"""Windows, set up from WSL 2: stand-ins for its tools, as programs on the path that answer as those do. 2 s."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from secondlook.run.authority import make_authority
from secondlook.setup import authority, startup, system_proxy
from secondlook.setup.journal import Journal

ADDON = Path(__file__).parents[2] / "addon"
STAND_IN = Path(__file__).parent / "windows_tool.py"


class Wsl:
    """What the stand-ins keep between them."""

    def __init__(self, kept):
        self.kept = kept
        self.registry = {}

    def _values(self):
        return json.loads(self.kept.read_text())

    def __getitem__(self, key):
        return self._values().get(key)

    @property
    def registry(self):
        return {key: value for key, value in self._values().items() if isinstance(value, list)}

    @registry.setter
    def registry(self, values):
        self.kept.write_text(json.dumps(values))


@pytest.fixture
def wsl(tmp_path, monkeypatch):
    tools = tmp_path / "System32"
    tools.mkdir()
    for name in ("reg.exe", "powershell.exe", "wslpath", "certutil.exe"):
        (tools / name).write_text(f"#!{sys.executable}\n{STAND_IN.read_text(encoding='utf-8')}")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("WSL_DISTRO_NAME", "Ubuntu")
    return Wsl(tools / "kept.json")


def test_its_proxy_goes_through_ours_and_back_to_what_it_was(wsl, tmp_path):
    before = {
        "ProxyEnable": ["REG_DWORD", "0x0"],
        "ProxyServer": ["REG_SZ", "proxy.corp.example:3128"],
        "AutoConfigURL": ["REG_SZ", "http://corp.example/proxy.pac"],
    }
    wsl.registry = before
    journal = Journal(tmp_path / "state")
    (outcome,) = system_proxy.switch_on("127.0.0.1", 8080, journal)
    assert outcome.done, outcome
    assert wsl.registry == {
        "ProxyEnable": ["REG_DWORD", "0x1"],
        "ProxyServer": ["REG_SZ", "127.0.0.1:8080"],
        "ProxyOverride": ["REG_SZ", "localhost;127.*;<local>"],
    }
    assert wsl["told"]  # programs that run read it again
    (undone,) = journal.undo({system_proxy.KIND: system_proxy.switch_off}, frozenset({system_proxy.KIND}))
    assert undone.done, undone
    assert wsl.registry == before
    assert journal.changes() == []


def test_a_proxy_that_was_set_since_is_left_alone(wsl, tmp_path):
    journal = Journal(tmp_path / "state")
    system_proxy.switch_on("127.0.0.1", 8080, journal)
    theirs = {"ProxyEnable": ["REG_DWORD", "0x1"], "ProxyServer": ["REG_SZ", "other.example:1"]}
    wsl.registry = theirs
    (undone,) = journal.undo({system_proxy.KIND: system_proxy.switch_off}, frozenset({system_proxy.KIND}))
    assert "left alone" in undone.text
    assert wsl.registry == theirs


def test_its_root_store_trusts_the_authority_and_no_longer(wsl, tmp_path):
    make_authority(tmp_path / "ca", "ecdsa")
    certificate = tmp_path / "ca/mitmproxy-ca-cert.pem"
    journal = Journal(tmp_path / "state")
    (store,) = [store for store in authority.stores(tmp_path) if isinstance(store, authority.WindowsStore)]
    (outcome,) = authority.trust(certificate, journal, [store])
    assert outcome.done, outcome
    assert wsl["trusted"] == r"\\wsl.localhost\Ubuntu" + str(certificate).replace("/", "\\")
    (undone,) = journal.undo({authority.KIND: authority.distrust}, frozenset({authority.KIND}))
    assert undone.done, undone
    assert wsl["trusted"] is None
    assert wsl["removed"] == authority.fingerprint(certificate, "sha1")


@pytest.mark.usefixtures("wsl")
def test_a_task_of_windows_starts_it():
    told = startup.instructions(["/home/a user/bin/python", "-m", "secondlook", "run"])
    assert r'/TR "wsl.exe -d Ubuntu -e \"/home/a user/bin/python\" -m secondlook run"' in told


@pytest.mark.usefixtures("wsl")
def test_elsewhere_there_is_no_windows(monkeypatch):
    monkeypatch.delenv("WSL_DISTRO_NAME")
    assert not system_proxy.Windows().available()
    assert startup.instructions(["/bin/true"]) is None


def test_on_windows_itself_the_commands_say_where_they_run():
    told = subprocess.run(
        [sys.executable, "-c", "import sys; sys.platform = 'win32'; import secondlook.cli.main"],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ADDON)},
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr.startswith("Second Look runs on Linux and macOS; on Windows, in WSL 2")
