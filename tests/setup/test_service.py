"""The service of the system: systemd takes its files, it is hardened, and only what is ours is touched (2 s)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from secondlook.config.source import load_settings
from secondlook.setup import service

WORDS = [sys.executable, "-P", "-m", "secondlook", "run", "-c", "/etc/secondlook/proxy.yaml"]
MOST_EXPOSED = 25  # tenths, as `systemd-analyze security` counts
FILES = {
    "etc/sysusers.d/secondlook.conf",
    "etc/tmpfiles.d/secondlook.conf",
    "etc/systemd/system/secondlook.service",
    "etc/secondlook/proxy.yaml",
}


def systemd(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        assert not os.environ.get("CI"), f"{tool} is missing (Debian: apt install systemd)"
        pytest.skip(f"{tool} is not installed")
    return found


def below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def installed(tmp_path, repository) -> Path:
    root = tmp_path / "root"
    outcomes = service.switch_on(WORDS, (repository / "proxy.yaml").read_text(), root=root)
    assert all(each.done for each in outcomes)
    return root


def run(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    return told


def test_systemd_finds_no_fault_with_the_unit(installed):
    unit = installed / "etc/systemd/system/secondlook.service"
    assert run(systemd("systemd-analyze"), "verify", "--man=no", unit) == ""


def test_it_is_exposed_to_little(installed):
    unit = installed / "etc/systemd/system/secondlook.service"
    words = ["security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager"]
    told = run(systemd("systemd-analyze"), *words, unit)
    assert "Overall exposure level for secondlook.service" in told


def test_what_tls_needs_is_not_taken_from_it(installed):
    """Seen in a real service: without such memory pyOpenSSL's callbacks fail, and with them every https page."""
    assert "MemoryDenyWriteExecute" not in (installed / "etc/systemd/system/secondlook.service").read_text()


def test_a_gateway_that_is_another_user_reaches_its_socket(installed):
    """`/run/secondlook/gateway.sock`, as docs/gateway.md shows it: systemd makes the folder, open to others."""
    unit = (installed / "etc/systemd/system/secondlook.service").read_text()
    assert "\nRuntimeDirectory=secondlook\nRuntimeDirectoryMode=0755\n" in unit


def test_its_user_and_its_folders_are_made_as_the_files_say(installed):
    run(systemd("systemd-sysusers"), f"--root={installed}")
    (user,) = [
        line for line in (installed / "etc/passwd").read_text().splitlines() if line.startswith("secondlook:")
    ]
    assert user.endswith(":Second Look:/var/lib/secondlook:/usr/sbin/nologin")
    if os.geteuid() == 0:
        run(systemd("systemd-tmpfiles"), f"--root={installed}", "--create", "secondlook.conf")
        folder, config = installed / "etc/secondlook", installed / "etc/secondlook/proxy.yaml"
        group = int(user.split(":")[3])
        assert [oct(path.stat().st_mode & 0o777) for path in (folder, config)] == ["0o750", "0o640"]
        assert [(path.stat().st_uid, path.stat().st_gid) for path in (folder, config)] == [(0, group)] * 2


def test_its_configuration_is_the_shipped_one_with_its_own_state(installed):
    assert below(installed) == FILES
    settings = load_settings(installed / "etc/secondlook/proxy.yaml")
    assert settings.state == Path("/var/lib/secondlook")
    assert settings.feeds


def test_a_configuration_there_stays(installed):
    config = installed / "etc/secondlook/proxy.yaml"
    config.write_text("state: /srv\n")
    outcomes = service.switch_on(WORDS, "state: x\n", root=installed)
    assert f"{config} stays as it is" in [each.text for each in outcomes]
    assert config.read_text() == "state: /srv\n"


def test_what_is_taken_away_is_ours(installed):
    (installed / "var/lib/secondlook").mkdir(parents=True)
    outcomes = service.switch_off(root=installed)
    assert all(each.done for each in outcomes)
    assert below(installed) == {"etc/secondlook/proxy.yaml"}
    assert (installed / "var/lib/secondlook").is_dir()
    assert service.switch_off(root=installed) == []


def test_a_unit_of_somebody_else_is_neither_replaced_nor_removed(installed):
    unit = installed / "etc/systemd/system/secondlook.service"
    unit.write_text("[Unit]\nDescription=mine\n")
    for outcomes in (service.switch_on(WORDS, "", root=installed), service.switch_off(root=installed)):
        (told,) = outcomes
        assert (told.done, told.text) == (False, f"{unit} is not of this command")
    assert unit.read_text() == "[Unit]\nDescription=mine\n"
    assert below(installed) == FILES


@pytest.mark.parametrize(
    ("places", "found"),
    [
        (("/opt/a/bin/python", "/usr/bin"), None),
        (("/opt/a", "/home/me/.venv"), "/home/me/.venv"),
        (("/root/.local/share/uv/python",), "/root/.local/share/uv/python"),
        (("/homestead/a", "/rooted"), None),
    ],
)
def test_a_program_that_the_unit_does_not_see_is_named(places, found):
    assert service.hidden(*places) == found


def test_a_link_into_a_home_is_out_of_sight_too(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "UNREACHABLE", (str(tmp_path / "home"),))
    (tmp_path / "opt").symlink_to(tmp_path / "home")
    assert service.hidden(str(tmp_path / "opt/python")) == str(tmp_path / "home/python")
