"""Where a command finds its configuration, and the state folder that a configuration says plainly."""

from pathlib import Path

import pytest

from secondlook.cli import installation
from secondlook.cli.installation import find_config, plainly_stated


@pytest.fixture
def config(tmp_path):
    return tmp_path / "proxy.yaml"


def said(config, text):
    config.write_text(text)
    found = plainly_stated(config)
    return found if found is None else str(found.relative_to(config.parent))


@pytest.mark.parametrize(
    "line",
    [
        "state: kept",
        "state:   kept",
        "state: 'kept'",
        'state: "kept"',
        "state: kept  # of the proxy",
        "state:\tkept\t",
    ],
)
def test_a_folder_that_is_said_plainly_is_read(config, line):
    assert said(config, f"# ours\nlisten: 127.0.0.1:8080\n{line}\npolicy:\n  level: high\n") == "kept"


def test_a_configuration_that_says_none_means_state_beside_it(config):
    assert said(config, "") == "state"
    assert said(config, "listen: 127.0.0.1:8080\nlog:\n  state: elsewhere\n") == "state"


@pytest.mark.parametrize("fault", ["workers 2", "Workers: 2", "\tworkers: 2", "frobnicate: 2"])
def test_a_fault_in_another_line_leaves_it_plain(config, fault):
    """The proxy that runs by it answers; the fault is reported when the file is read anew."""
    assert said(config, f"state: kept\n{fault}\n") == "kept"


def test_folders_elsewhere(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config.write_text("state: /var/lib/kept\n")
    assert plainly_stated(config) == Path("/var/lib/kept")
    config.write_text("state: ~/kept\n")
    assert plainly_stated(config) == tmp_path / "home" / "kept"


@pytest.mark.parametrize(
    "text",
    [
        "state: one\nstate: two\n",  # which of them counts is for YAML to say
        "state:\n  kept\n",
        "state: ${KEPT}\n",
        "state: $KEPT\n",
        "state: 7 and more\n",
        "state: -kept\n",
        "state: &here kept\n",
        "state: 'ke''pt'\n",
        'state: "ke\\tpt"\n',
        "state: kept#of\n",
        "state:kept\n",
        "state : kept\n",
        "state kept\n",
        "{state: kept}\n",
        '"state": kept\n',
        "? state\n: kept\n",
        "--- {state: kept}\n",
        "%YAML 1.1\n",
    ],
)
def test_what_is_not_plain_is_left_to_yaml(config, text):
    assert said(config, text) is None


def test_a_configuration_beyond_the_bound_is_left_to_yaml(config):
    assert said(config, "state: kept\n" + "#" * ((1 << 20) - 13)) == "kept"
    assert said(config, "state: kept\n" + "#" * ((1 << 20) - 12)) is None


def test_a_configuration_that_cannot_be_read_is_an_error(config):
    with pytest.raises(FileNotFoundError):
        plainly_stated(config)


def test_the_configuration_here_comes_before_the_users_the_systems_and_the_shipped(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    here, own = tmp_path / "here", tmp_path / "config" / "secondlook" / "proxy.yaml"
    here.mkdir()
    monkeypatch.chdir(here)
    shipped, state = find_config(None)
    assert shipped is None or shipped.parent.name == "shipped"
    assert state == tmp_path / "states" / "secondlook"
    monkeypatch.setattr(installation, "SYSTEM_CONFIG", tmp_path / "system.yaml")
    assert find_config(None) == (shipped, state)
    (tmp_path / "system.yaml").touch()
    assert find_config(None) == (tmp_path / "system.yaml", None)
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_config(None) == (own, None)
    (here / "proxy.yaml").touch()
    assert find_config(None) == (Path("proxy.yaml"), None)
    assert find_config(own) == (own, None)
