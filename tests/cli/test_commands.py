"""Commands on a state folder that no proxy runs on: what they print, in each form, and their exit status."""

import importlib

import pytest
from typer.main import get_command

from cli.calling import make_event, on, write_events
from e2e.processes import command, json_lines, server_publish
from secondlook.cli.program import COMMANDS
from secondlook.config.source import load_settings
from secondlook.ledger.ledger import Ledger


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("allow", "a.example", "--for", "10"), "expected a unit after the number: 10s, 10m, 10h or 10d"),
        (("log", "--since", "7"), "expected a unit after the number: 7m, 7h or 7d"),
        (("log", "--kind", "blokced"), "did you mean blocked?"),
        (("rules", "backtest", "--action", "alow"), "did you mean allow?"),
    ],
)
def test_a_value_that_cannot_be_comes_back_with_what_was_probably_meant(state, words, hint):
    refused = on(state, *words, check=False)
    assert (refused.returncode, hint in refused.stderr) == (2, True), refused.stderr


def test_help_about_a_command_and_names_that_are_nearly_right():
    assert command("help", "pause").stdout == command("pause", "--help").stdout
    assert command("help").stdout == command("--help").stdout
    assert command("notify", check=False).stderr.strip() == command("notify", "--help").stdout.strip()
    assert "No such command 'statsu'. Did you mean 'status'?" in command("statsu", check=False).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("allow", "a.example", "--client", ""),
        ("pause", "1", "--client", " "),
        ("resume", "--client", ""),
        ("log", "--client", ""),
        ("check", "http://a.example/", "--client", "a\x01b"),
        ("allow", "a.example", "--for", "0"),
        ("allow", "a.example", "--for", "99999999999d"),
        ("pause", "1e-9"),
        ("log", "--json", "--csv"),
        ("check", ""),
    ],
)
def test_what_means_nothing_is_refused(state, arguments):
    on(state, "block", "b.example")
    done = on(state, *arguments, check=False)
    assert done.returncode == 2
    assert "expected" in done.stderr
    assert [rule["subject"] for rule in json_lines("rules", "--state", state)] == ["b.example"]
    (status,) = json_lines("status", "--state", state)
    assert status["paused_until"] is None


def test_commands_that_read_make_nothing(state):
    for arguments in (
        ("status",),
        ("log",),
        ("queue",),
        ("queue", "show", "x"),
        ("rules",),
        ("rules", "test", "http://a.example/"),
        ("quarantine",),
        ("pattern", "status"),
        ("resume",),
    ):
        done = on(state, *arguments, check=False)
        assert done.returncode == 1
        assert f"nothing of Second Look is in {state}" in done.stderr
    checked = on(state, "check", "http://a.example/")  # answers all the same, and says what it had no look at
    assert checked.stdout.startswith("ALLOW  http://a.example/")
    assert f"nothing of Second Look is in {state}" in checked.stderr
    assert not state.exists()
    on(state, "allow", "a.example")
    assert state.stat().st_mode & 0o777 == 0o700


def test_acts_tell_what_they_did_as_json(state):
    (rule,) = json_lines("allow", "a.example", "--state", state)
    assert json_lines("rules", "remove", rule["id"], "--state", state) == [{"removed": rule["id"]}]
    on(state, "pause", "5")
    assert json_lines("resume", "--state", state) == [{"ended": 1}]


@pytest.fixture
def updated(state):
    """Hold a list of the own server."""
    listed = state.parent / "list.txt"
    listed.write_text("one.example\n")
    json_lines("server", "import", listed, "--state", state / "server", "--list", "mw-8b")
    server_publish(state / "server")
    json_lines("pattern", "update", "--state", state)
    return state


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_pattern_update_gives_nothing_up_where_the_own_server_cannot_be_asked(updated, how):
    def in_force():
        return {each["list"]: each["entries"] for each in json_lines("pattern", "status", "--state", updated)}

    before = in_force()
    assert before["mw-8b"] > 1
    if how == "lost":
        (updated / "server").rename(updated / "lost")
    else:
        (updated / "server" / "current").write_text("?")
    assert json_lines("pattern", "update", "--state", updated) == []
    assert in_force() == before


def test_pattern_update_mends_what_is_damaged(updated):
    """As `doctor` advises, also while no proxy runs."""
    state = updated
    (stamp,) = (state / "pattern").glob("current.json")
    (table,) = (state / "pattern").glob("mw-8b.*.slh")
    for damaged in (stamp, table):
        damaged.write_bytes(b"{" + damaged.read_bytes()[5:])
        (told,) = json_lines("pattern", "update", "--state", state)
        assert "mw-8b" in told["taken"]
        assert json_lines("pattern", "verify", "--state", state)[0]["ok"]


def test_listings_of_an_empty_state(state):
    Ledger.open(state / "ledger.sqlite3").close()
    for arguments in (
        ("queue", "list"),
        ("rules", "list"),
        ("quarantine", "list"),
        ("pattern", "status"),
        ("log",),
    ):
        done = on(state, *arguments)
        assert done.stdout == ""
        assert done.stderr
        assert json_lines(*arguments, "--state", state) == []


def leaves(group, path):
    """Every command that can be called, with its words."""
    inner = getattr(group, "commands", {})
    if not inner or group.invoke_without_command:
        yield path, group
    for name, each in inner.items():
        yield from leaves(each, (*path, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_ends_speaks_json(name):
    app = importlib.import_module(f"secondlook.cli.{COMMANDS[name][0]}").app
    for path, each in leaves(get_command(app), (name,)):
        options = {option for parameter in each.params for option in parameter.opts}
        assert ("--json" in options) is (path[-1] not in {"run", "helper"}), path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    assert "Usage" in command(name, "--help").stdout


def test_password_makes_a_hash_that_the_configuration_takes(tmp_path):
    from argon2 import PasswordHasher

    done = command("password", input="hunter2\n")
    config = tmp_path / "proxy.yaml"
    config.write_text(f'review: {{password: "{done.stdout.strip()}"}}\n')
    assert PasswordHasher().verify(load_settings(config).review.password, "hunter2")
    (told,) = json_lines("password", input="hunter2\n")
    assert PasswordHasher().verify(told["hash"].replace("$$", "$"), "hunter2")


def test_what_the_disk_refuses_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    from errno import ENOSPC

    from secondlook.cli import main as entry
    from secondlook.server.store import store

    def full(path, data):
        raise OSError(ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(store, "write_whole", full)
    monkeypatch.setattr("secondlook.server.store.manual_entries.write_whole", full)
    arguments = ["server", "add", "evil.example", "--state", str(tmp_path / "server")]
    monkeypatch.setattr("sys.argv", ["secondlook", *arguments])
    with pytest.raises(SystemExit) as ended:
        entry.main(arguments)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert told.count("\n") == 1


def test_listings_without_their_list_take_its_options(state):
    write_events(state, make_event("http://shop.example/"))
    for group in ("rules", "queue", "quarantine"):
        assert on(state, group, "--utc").returncode == 0
