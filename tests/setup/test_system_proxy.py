"""A real dconf in a private session bus; the other desktops by what they would run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.processes import needs
from secondlook.setup import browser, system_proxy, tool
from secondlook.setup.journal import Change, Journal

ADDON = Path(__file__).parents[2] / "addon"

GNOME_STORY = """
import json, sys
from pathlib import Path
from secondlook.setup import system_proxy, tool
from secondlook.setup.journal import Journal

journal = Journal(Path(sys.argv[1]))
root = "org.gnome.system.proxy"
gnome = system_proxy.Gnome()
tool.run("gsettings", "set", root, "ignore-hosts", "['intranet.example']")
story = {"available": gnome.available(), "before": gnome.read()}
story["on"] = [outcome.done for outcome in system_proxy.switch_on("127.0.0.1", 8080, journal)]
story["during"] = gnome.read()
system_proxy.switch_on("127.0.0.1", 8080, journal)
undo = lambda: [o.text for o in journal.undo({system_proxy.KIND: system_proxy.switch_off}, frozenset({system_proxy.KIND}))]
story["off"] = undo()
story["after"] = gnome.read()
system_proxy.switch_on("127.0.0.1", 8080, journal)
gnome.write(story["before"])
story["nothing_to_do"] = undo()
system_proxy.switch_on("127.0.0.1", 8080, journal)
tool.run("gsettings", "set", root, "mode", "auto")
story["changed"] = undo()
print(json.dumps(story))
"""


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "state")


def test_gnome_is_set_seen_and_put_back(tmp_path):
    needs("dbus-run-session")
    needs("gsettings")
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ADDON),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    done = subprocess.run(
        ["dbus-run-session", "--", sys.executable, "-c", GNOME_STORY, str(tmp_path / "state")],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout.splitlines()[-1])
    assert story["available"]
    assert story["on"] == [True]
    assert story["during"]["mode"] == "'manual'"
    assert story["during"]["http.host"] == "'127.0.0.1'"
    assert story["during"]["https.port"] == "8080"
    assert story["after"] == story["before"]
    assert story["before"]["ignore-hosts"] == "['intranet.example']"
    assert story["nothing_to_do"] == ["gnome: is as it was before"]
    assert "left alone" in story["changed"][0]


class FakeTools:
    """Remembers settings the way a desktop's tools would, keyed by the command's words."""

    def __init__(self):
        self.values = {}
        self.calls = []

    def run(self, *command):
        self.calls.append(command)
        match command:
            case ("kreadconfig6", *_, key):
                return self.values.get(key, "")
            case ("kwriteconfig6", "--file", _, "--group", _, "--key", key, *value):
                self.values[key] = "" if value[0] == "--delete" else value[0]
            case ("networksetup", "-listallnetworkservices"):
                return "An asterisk (*) denotes that a network service is disabled.\nWi-Fi\nUSB 10/100/1000 LAN\n*Thunderbolt Bridge"
            case ("networksetup", ("-getwebproxy" | "-getsecurewebproxy") as get, service):
                enabled, server, port = self.values.get((get[4:], service), ["No", "", "0"])
                return f"Enabled: {enabled}\nServer: {server}\nPort: {port}\nAuthenticated Proxy Enabled: 0"
            case ("networksetup", ("-setwebproxy" | "-setsecurewebproxy") as put, service, server, port):
                self.values[put[4:], service] = ["Yes", server, port]
            case ("networksetup", ("-setwebproxystate" | "-setsecurewebproxystate") as put, service, state):
                self.values.setdefault((put[4:-5], service), ["No", "", "0"])[0] = (
                    "Yes" if state == "on" else "No"
                )
            case ("dbus-send", *_):
                pass
            case _:
                raise AssertionError(command)
        return ""


@pytest.mark.parametrize("desktop", [system_proxy.Kde(), system_proxy.Mac()], ids=lambda d: d.name)
def test_others_are_set_and_put_back(desktop, journal, monkeypatch):
    tools = FakeTools()
    monkeypatch.setattr(tool, "run", tools.run)
    monkeypatch.setattr(tool, "has", lambda name: name.endswith("6") or name == "dbus-send")
    monkeypatch.setattr(type(desktop), "available", lambda _self: True)
    monkeypatch.setattr(system_proxy, "DESKTOPS", (desktop,))
    before = desktop.read()
    (outcome,) = system_proxy.switch_on("127.0.0.1", 8080, journal)
    assert outcome.done, outcome
    assert system_proxy._same(desktop.read(), desktop.wanted("127.0.0.1", 8080))
    (undone,) = journal.undo({system_proxy.KIND: system_proxy.switch_off}, frozenset({system_proxy.KIND}))
    assert undone.done, undone
    after = desktop.read()
    if desktop.name == "macos":  # macOS keeps the address of a proxy that is off
        assert {json.loads(value)[0] for value in after.values()} == {"No"}
    else:
        assert after == before


@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_was_set_half_is_put_back(at, journal, monkeypatch):
    """A switching on that was killed leaves a proxy that would be used, and nobody behind it."""
    tools, desktop = FakeTools(), system_proxy.Kde()
    monkeypatch.setattr(tool, "run", tools.run)
    monkeypatch.setattr(tool, "has", lambda name: name.endswith("6"))
    monkeypatch.setattr(system_proxy, "DESKTOPS", (desktop,))
    before, wanted = desktop.read(), desktop.wanted("127.0.0.1", 8080)
    journal.add(Change(system_proxy.KIND, desktop.name, before=before, after=wanted))
    desktop.write(dict(list(wanted.items())[:at]))
    (undone,) = journal.undo({system_proxy.KIND: system_proxy.switch_off}, frozenset({system_proxy.KIND}))
    assert undone.done
    assert desktop.read() == before


def test_network_services_come_and_go(journal, monkeypatch):
    tools = FakeTools()
    services = ["Wi-Fi", "Dock"]
    monkeypatch.setattr(system_proxy.Mac, "_services", staticmethod(lambda: list(services)))
    monkeypatch.setattr(tool, "run", tools.run)
    monkeypatch.setattr(system_proxy.Mac, "available", lambda _self: True)
    monkeypatch.setattr(system_proxy, "DESKTOPS", (system_proxy.Mac(),))
    system_proxy.switch_on("127.0.0.1", 8080, journal)
    services[:] = ["Wi-Fi", "Phone"]
    system_proxy.switch_on("127.0.0.1", 8080, journal)
    (undone,) = journal.undo({system_proxy.KIND: system_proxy.switch_off}, frozenset({system_proxy.KIND}))
    assert undone.done
    assert "as it was" in undone.text
    used = {service: tools.values["webproxy", service][0] for service in ("Wi-Fi", "Dock", "Phone")}
    assert used == {"Wi-Fi": "No", "Dock": "Yes", "Phone": "No"}


def test_a_second_switch_on_keeps_the_first_before(journal):
    journal.add(Change("system-proxy", "gnome", {"mode": "'none'"}, {"mode": "'manual'"}))
    journal.add(Change("system-proxy", "gnome", {"mode": "'manual'"}, {"mode": "'auto'"}))
    (kept,) = journal.changes()
    assert kept.before == {"mode": "'none'"}
    assert kept.after == {"mode": "'auto'"}


def test_an_address_of_ipv6_stands_in_brackets(tmp_path):
    assert system_proxy.Kde().wanted("::1", 8080)["httpsProxy"] == "http://[::1] 8080"
    assert system_proxy.Windows().wanted("::1", 8080)["ProxyServer"] == "[::1]:8080"
    words = browser.command("chromium", tmp_path, "::1", 8080, "http://a.example/")
    assert "--proxy-server=http://[::1]:8080" in words
