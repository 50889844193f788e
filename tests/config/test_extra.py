"""A setting that wants what is not installed is refused with the extra's name; all others are read."""

from pathlib import Path

import pytest

from secondlook.config import extra
from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_server_settings, load_settings

WANTING = {
    "ledger: postgresql://a@b/c\n": ("postgresql", "psycopg"),
    "ledger: {url: 'postgres://a@b/c'}\n": ("postgresql", "psycopg"),
    "notify: [json://localhost]\n": ("notices", "apprise"),
    "scan: {yara: {rules: [a.yar]}}\n": ("yara", "yara_x"),
    "feeds: [{name: a, format: yara, url: 'https://a.example/'}]\n": ("yara", "yara_x"),
}


@pytest.fixture
def without(monkeypatch):
    """Leave out modules as if they were not installed."""
    missing: set[str] = set()
    found = extra.find_spec
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name in missing else found(name))
    return missing


@pytest.mark.parametrize("text", WANTING)
def test_a_proxy_says_which_extra_it_needs(tmp_path, without, text):
    path = tmp_path / "proxy.yaml"
    path.write_text(f"state: s\n{text}")
    name, module = WANTING[text]
    load_settings(path)
    without.add(module)
    with pytest.raises(InvalidConfigError) as refused:
        load_settings(path)
    told = str(refused.value)
    assert told.startswith(f"{path}:2: ")
    assert f"this needs the extra `{name}`, which is not installed: pip install 'secondlook[{name}]'" in told


def test_a_server_too(tmp_path, without):
    path = tmp_path / "server.yaml"
    path.write_text("store: valkey://127.0.0.1/0\n")
    load_server_settings(path)
    without.add("redis")
    with pytest.raises(InvalidConfigError, match=r"server.yaml:1: store: this needs the extra `valkey`"):
        load_server_settings(path)


def test_what_wants_none_is_read_without_any(tmp_path, without):
    without.update(extra.EXTRAS.values())
    path = tmp_path / "proxy.yaml"
    path.write_text("ledger: default\nnotify: []\n")
    load_settings(path)
    path.write_text("ledger: sqlite:///x\nnotify: {desktop: true, urls: []}\n")
    load_settings(path)
    path.write_text(
        "scan: {yara: {rules: []}}\n"
        "feeds: [{name: a, format: yara, url: 'https://a.example/', enabled: false}]\n"
    )
    load_settings(path)
    load_server_settings(None, state=tmp_path)


def test_each_extra_brings_its_module_and_the_lock_has_all(repository: Path):
    import tomllib

    declared = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert declared.keys() - {"dev"} == extra.EXTRAS.keys()
    for name, module in extra.EXTRAS.items():
        package = module.replace("_", "-")
        assert declared[name][0].startswith(package)
        for lock, there in (
            ("requirements.txt", False),
            ("requirements-extra.txt", True),
            ("requirements-dev.txt", True),
        ):
            assert (f"\n{package}==" in "\n" + (repository / lock).read_text()) is there, (lock, package)
    assert all(f"--extra {name}" in (repository / "scripts/lock").read_text() for name in extra.EXTRAS)
