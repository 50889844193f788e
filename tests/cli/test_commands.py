"""Commands on a state folder that no proxy runs on: what they print, in each form, and their exit status."""

import asyncio
import importlib
import io
import json
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from typer.main import get_command

from e2e.processes import command, json_lines, server_publish
from secondlook.cli.caller import CALLER, Caller
from secondlook.cli.operation import doctor
from secondlook.cli.operation.status import DAY_S, _hung
from secondlook.cli.options import CommandContext
from secondlook.cli.output import print_marked, print_table, time_told
from secondlook.cli.program import COMMANDS
from secondlook.cli.records import log
from secondlook.cli.records.log import COLUMNS, SPARE, WHOLE, _row
from secondlook.cli.rules.rules import COLUMNS as RULE_COLUMNS
from secondlook.cli.rules.rules import SPARE as RULE_SPARE
from secondlook.config import load_settings
from secondlook.core.event import Event, EventKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import Ledger
from secondlook.ledger.log.filter import EventFilter
from secondlook.ledger.log.shape import EVENT_KEYS
from secondlook.run.diagnosis.finding import Finding
from secondlook.run.supervisor.runfile import StateLock
from secondlook.server.publish.generation import Generation
from secondlook.server.publish.publishing import publish
from secondlook.server.publish.signing import publisher_key
from secondlook.server.store.store import ServerStore
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.wire.signature import public_text
from serverkit.valkey import single

HOSTILE = 'http://evil.example/\x1b[31m"><script>alert(1)</script>\u202egnp.exe'


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def on(state, *arguments, check=True):
    return command(*arguments, "--state", state, check=check)


def write_events(state, *events: Event) -> None:
    state.mkdir(parents=True, exist_ok=True)
    ledger = Ledger.open(state / "ledger.sqlite3")
    for event in events:
        ledger.recorder.record(event)
    ledger.close()


def make_event(url: str, **fields: object) -> Event:
    return Event(
        id=make_id(), kind=EventKind.BLOCKED, time=1_790_000_000.25, url=url, decision="block", **fields
    )


def test_rules_are_made_listed_tried_and_removed(state):
    on(state, "allow", "Example.COM", "--for", "10m", "--reason", "because")
    on(state, "block", "http://example.com/bad/", "--client", "10.0.0.7/8")
    rules = json_lines("rules", "list", "--state", state)
    assert json_lines("rules", "--state", state) == rules
    assert [(rule["action"], rule["subject"], rule["scope"], rule["client"]) for rule in rules] == [
        ("allow", "example.com", "domain", None),
        ("block", "http://example.com/bad/", "prefix", "10.0.0.0/8"),
    ]
    assert set(rules[0]) >= {
        "id",
        "action",
        "subject",
        "scope",
        "client",
        "reason",
        "created",
        "expires",
        "hits",
    }
    fired = json_lines(
        "rules", "test", "http://www.example.com/bad/x", "--client", "10.1.1.1", "--state", state
    )
    assert [rule["action"] for rule in fired] == ["allow"]
    on(state, "rules", "remove", rules[0]["id"])
    assert on(state, "rules", "remove", rules[0]["id"], check=False).returncode == 1
    assert len(json_lines("rules", "list", "--state", state)) == 1


def test_a_rule_that_another_one_overrules_says_which_and_can_replace_it(state):
    (allowed,) = json_lines("allow", "shop.example", "--for", "1h", "--state", state)
    shown = on(state, "block", "shop.example").stdout.splitlines()
    assert shown[1] == f"but allow shop.example wins until {allowed['expires']} ({allowed['id']})"
    assert shown[2] == "  have it removed with: secondlook block shop.example --replace"
    (part,) = json_lines("block", "http://shop.example/bad", "--state", state)
    assert part["overruled_by"] is None, "what is said about a part goes before the whole"
    (again,) = json_lines("block", "shop.example", "--replace", "--state", state)
    assert again["overruled_by"] is None
    assert {rule["action"] for rule in json_lines("rules", "--state", state)} == {"block"}
    assert on(state, "block", "shop.example", "--replace").stdout.startswith(
        "block shop.example (domain); undo"
    )


def test_a_rule_for_one_client_overrules_the_one_for_all_for_that_client_alone(state):
    (own,) = json_lines("allow", "shop.example", "--client", "10.0.0.7", "--state", state)
    (everybody,) = json_lines("block", "shop.example", "--state", state)
    (same,) = json_lines("block", "shop.example", "--client", "10.0.0.7", "--state", state)
    assert (everybody["overruled_by"], same["overruled_by"]) == (None, own["id"])
    digest = "ab" * 32
    (file,) = json_lines("allow", digest, "--state", state)
    (blocked,) = json_lines("block", digest, "--state", state)
    assert blocked["overruled_by"] == file["id"]
    (expression,) = json_lines("block", "/shop[0-9]/", "--state", state)
    assert expression["overruled_by"] is None


def test_a_backtest_takes_a_mistyped_list_for_no_host_and_names_what_an_exception_frees(state):
    write_events(state, make_event("http://shop.example/", host="shop.example"))
    for mistyped, meant in (("nope-8b", ""), ("mw-zz", ""), ("hihg", " (did you mean high?)")):
        refused = on(state, "rules", "backtest", mistyped, check=False)
        assert refused.returncode == 2
        assert f"there is no list or level {mistyped}{meant}; lists in force: none" in refused.stderr
    assert "only a rule can allow: high is a level" in (
        on(state, "rules", "backtest", "high", "--action", "allow", check=False).stderr
    )
    assert on(state, "rules", "backtest", "=printer").returncode == 0
    since = ["--since", "2020-01-01"]
    freed = on(state, "rules", "backtest", "shop.example", "--action", "allow", *since).stdout
    assert freed.splitlines() == [
        "of 1 logged checks 0 would be blocked in addition, 1 no longer",
        "times\tno longer blocked",
        "1\tshop.example",
    ]
    (report,) = json_lines("rules", "backtest", "shop.example", "--action", "allow", *since, "--state", state)
    assert (report["hosts"], report["allowed_hosts"]) == ([], [{"host": "shop.example", "count": 1}])


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


@pytest.mark.parametrize(
    ("written", "lasts"), [("5", 300), ("0.5", 30), ("90s", 90), ("2h", 7200), ("7d", 604_800)]
)
def test_a_pause_takes_minutes_and_durations(state, written, lasts):
    before = time.time()
    (paused,) = json_lines("pause", written, "--state", state)
    assert (
        before + lasts
        <= datetime.fromisoformat(paused["until"]).timestamp() + 0.001
        <= time.time() + lasts + 0.001
    )


def test_help_about_a_command_and_names_that_are_nearly_right():
    assert command("help", "pause").stdout == command("pause", "--help").stdout
    assert command("help").stdout == command("--help").stdout
    assert "No such command 'statsu'. Did you mean 'status'?" in command("statsu", check=False).stderr


def test_the_same_rule_again_is_one_rule(state):
    on(state, "block", "bad.example")
    on(state, "block", "BAD.example", "--reason", "again")
    (rule,) = json_lines("rules", "list", "--state", state)
    assert rule["reason"] == "again"


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


@pytest.mark.parametrize("path", ["/nonexistent/file.exe", "./nonexistent.exe"])
def test_a_file_that_is_not_there_is_no_url(state, path):
    done = on(state, "check", path, "--offline", check=False)
    assert done.returncode == 1
    assert f"cannot read the file {path}: No such file" in done.stderr


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


def test_a_server_shows_its_key_before_it_has_published_anything(state):
    assert "key: made with the first publication" in on(state, "server", "status").stdout
    key = public_text(publisher_key(state).public_key())
    assert f"key {key}: agents and replicas" in on(state, "server", "status").stdout
    (status,) = json_lines("server", "status", "--state", state)
    assert (status["generation"], status["key"]) == (None, key)


def test_times_and_ids_are_whole_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    event = make_event("http://a.example/a/long/way/" + "x" * 60, host="a.example", client="10.0.0.1")
    print_table(COLUMNS, [_row(event)], empty="", whole=WHOLE)
    shown = capsys.readouterr().out
    assert event.id in shown
    assert f"time {time_told(event.time)}" in shown


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_terminal_too_narrow_for_a_table_gets_paragraphs(monkeypatch, capsys, width):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    url = "http://a.example/a/long/way/" + "x" * 600
    print_table(COLUMNS, [_row(make_event(url, client="10.0.0.1"))], empty="", whole=WHOLE)
    lines = capsys.readouterr().out.splitlines()
    assert f"  what {url}" in lines  # on one line: a terminal that folds it can copy it
    assert len(lines) < 10
    assert all(len(line) <= width for line in lines if "what" not in line)
    assert any("client 10.0.0.1" in line for line in lines)
    assert not any("threat" in line for line in lines)  # it is unknown


def test_a_rule_about_nothing_is_refused(state):
    done = on(state, "block", "*.example.com", check=False)
    assert done.returncode == 2
    assert "write a host without *" in done.stderr


def test_hostile_text_is_shown_harmless(state):
    write_events(state, make_event(HOSTILE, client="=cmd|'/c calc'!A1", cls=SubjectClass.PAGE))
    for arguments in (("log",), ("log", "--csv"), ("log", "--json"), ("log", "--limit", "5")):
        shown = on(state, *arguments).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    (event,) = json_lines("log", "--state", state)
    assert event["url"] == HOSTILE
    assert "'=cmd|" in on(state, "log", "--csv").stdout


def test_log_has_every_key_and_filters(state):
    write_events(
        state,
        make_event("http://a.example/1", host="a.example", client="10.0.0.1", gateway="squid"),
        make_event("http://b.example/2", host="b.example", client="10.0.0.2", proxy="other"),
    )
    events = json_lines("log", "--state", state)
    assert [event["host"] for event in events] == ["a.example", "b.example"]
    assert set(EVENT_KEYS) <= set(events[0])
    assert events[0]["time"] == "2026-09-21T14:13:20.250Z"
    assert [event["host"] for event in json_lines("log", "--host", "b.example", "--state", state)] == [
        "b.example"
    ]
    assert [event["host"] for event in json_lines("log", "--client", "10.0.0.1", "--state", state)] == [
        "a.example"
    ]
    assert [event["host"] for event in json_lines("log", "--proxy", "other", "--state", state)] == [
        "b.example"
    ]
    assert [event["host"] for event in json_lines("log", "--gateway", "squid", "--state", state)] == [
        "a.example"
    ]
    assert json_lines("log", "--kind", "flagged", "--state", state) == []
    assert json_lines("log", "--stage", "malformed", "--threat", "malware", "--state", state) == []
    done = on(state, "log", "--kind", "nonsense", check=False)
    assert done.returncode == 2
    assert "expected one of check, blocked" in done.stderr


def test_log_into_a_closed_pipe(state):
    write_events(state, *(make_event(f"http://a.example/{number}") for number in range(500)))
    reader, writer = os.pipe()
    os.close(reader)
    import subprocess

    from e2e.processes import SECONDLOOK

    done = subprocess.run(
        [*SECONDLOOK, "log", "--json", "--state", str(state)],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert b"Traceback" not in done.stderr


def test_a_client_is_erased(state):
    write_events(
        state,
        make_event("http://one.example/", client="10.0.0.7"),
        make_event("http://two.example/", client="10.0.0.8"),
    )
    for arguments, status in (
        (["--erase-client", "10.0.0.7"], 2),  # nobody there to be asked
        (["--erase-client", "10.0.0.7", "--host", "one.example", "--yes"], 2),
        (["--erase-client", " ", "--yes"], 2),
        (["--yes"], 2),
    ):
        assert on(state, "log", *arguments, check=False).returncode == status
    assert len(json_lines("log", "--state", state)) == 2
    (erased,) = json_lines("log", "--erase-client", "10.0.0.7", "--yes", "--state", state)
    assert erased == {"client": "10.0.0.7", "events": 1}
    assert [event["client"] for event in json_lines("log", "--state", state)] == ["10.0.0.8"]


def test_acts_tell_what_they_did_as_json(state):
    (rule,) = json_lines("allow", "a.example", "--state", state)
    assert json_lines("rules", "remove", rule["id"], "--state", state) == [{"removed": rule["id"]}]
    on(state, "pause", "5")
    assert json_lines("resume", "--state", state) == [{"ended": 1}]


def test_pause_and_resume(state):
    on(state, "pause", "5")
    (status,) = json_lines("status", "--state", state)
    assert status["paused_until"]
    on(state, "resume")
    (status,) = json_lines("status", "--state", state)
    assert status["paused_until"] is None
    for wrong in ("-1", "nan", "inf", "8d", "1e9", "ten"):
        assert on(state, "pause", wrong, check=False).returncode == 2


def test_check_without_a_running_proxy(state, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("bad.example\nhttp://half.example/bad/file.exe\n")
    bad_file = tmp_path / "sample.bin"
    bad_file.write_bytes(b"a bad file")
    digests = tmp_path / "digests.txt"
    import hashlib

    digest = hashlib.sha256(b"a bad file").hexdigest()
    digests.write_text(f"{digest}\n")
    server = state / "server"
    json_lines("server", "import", listed, "--state", server, "--list", "mw-8b")
    json_lines("server", "import", digests, "--state", server, "--list", "x-file-mw-8b")
    server_publish(server)
    done = command(
        "check", "http://www.bad.example/page?x=1", "half.example/bad/file.exe", "http://half.example/good",
        digest, str(bad_file), "--json", "--state", state, check=False,
    )  # fmt: skip
    assert done.returncode == 10
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["decision"] for each in told] == ["block", "block", "allow", "block", "block"]
    for each in told:
        assert set(each) >= {
            "subject", "decision", "verdict", "risk", "stage", "list", "rule", "threat", "canonical", "expressions",
            "stages",
        }  # fmt: skip
    assert told[0]["subject"] == "http://www.bad.example/page?x=1"
    assert told[0]["expressions"][0] == "www.bad.example/page?x=1"
    assert told[0]["list"] == "mw-8b"
    assert told[2]["verdict"] == "unknown"
    assert (told[3]["canonical"], told[3]["expressions"]) == (None, [])
    again = command("check", "http://half.example/good", "--state", state)
    assert (again.returncode, again.stderr) == (0, "")
    assert [path.name for path in state.iterdir()] == ["server"]  # no ledger was made for it


def test_check_of_what_nobody_can_answer(state, tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text("servers: {embedded: false, intranet: [{url: 'http://127.0.0.1:9'}]}\n")
    for options in ((), ("--offline",)):
        done = command(
            "check", "http://x.example/", "--json", "-c", config, "--state", state, *options, check=False
        )
        assert done.returncode == 11, done.stderr
        (told,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert told["decision"] == "flag"
        assert told["unverifiable"]


def test_unusual_input_of_check(state):
    done = command("check", "http://", "", "http://[", "\x01", "--state", state, "--json", check=False)
    assert done.returncode in {2, 10, 11}
    assert "Traceback" not in done.stderr


def test_server_commands(tmp_path):
    state, listed = tmp_path / "server", tmp_path / "list.txt"
    listed.write_text("one.example\ntwo.example\nnot a line\n")
    (report,) = json_lines("server", "import", listed, "--state", state, "--list", "mw-8b")
    assert (report["accepted"], sum(report["rejected"].values())) == (2, 1)
    assert server_publish(state)["generation"] == 1
    assert command("server", "check", "http://one.example/x", "--state", state, check=False).returncode == 10
    assert command("server", "check", "http://three.example/", "--state", state).returncode == 0
    command("server", "add", "three.example", "--state", state)
    command("server", "except", "two.example", "--state", state)
    server_publish(state)
    assert command("server", "check", "three.example", "--state", state, check=False).returncode == 10
    assert command("server", "check", "two.example", "--state", state).returncode == 0
    entries = {each["entry"] for each in json_lines("server", "list", "--state", state)}
    assert {"one.example/", "three.example/"} <= entries
    command("server", "rollback", "--state", state)
    assert command("server", "check", "three.example", "--state", state).returncode == 0
    command("server", "remove", "list.txt", "--state", state)
    assert command("server", "remove", "list.txt", "--state", state, check=False).returncode == 1
    (status,) = json_lines("server", "status", "--state", state)
    assert (status["generation"], status["held_back"], status["valkey"]) == (1, 0, None)


def test_status_names_feeds_that_fail_and_what_they_name_of_known_good_sites(tmp_path):
    feeds = tmp_path / "server" / "feeds"
    feeds.mkdir(parents=True)
    (tmp_path / "ca").mkdir()
    (feeds / "good.json").write_text('{"error": null}')
    (feeds / "failing.json").write_text('{"error": "shrunk: 3 entries, the last good one had 2000"}')
    (feeds / "damaged.json").write_text('{"err')
    held = {"source": "failing", "count": 1, "texts": ["google.com/"], "new": ["google.com/"]}
    held_back = [held | {"new_at": time.time()}, held | {"source": "long ago", "new_at": 1.0}]
    (tmp_path / "server" / "held-back").write_text(json.dumps(held_back))
    (status,) = json_lines("status", "--state", tmp_path)
    assert status["alerts"] == [
        "feed failing: shrunk: 3 entries, the last good one had 2000",
        "failing lists 1 known-good sites or pages, which are held back: google.com/",
    ]


def test_status_names_the_process_that_hung_last_for_a_day():
    def told(*, ago_s, **count):
        last = {"process": "gate worker 1", "at": 1_700_000_000.0}
        return _hung({"hung": {"count": count, "last": last}}, last["at"] + ago_s, utc=True)

    once = "gate worker 1 hung, was killed and started again at 2023-11-14T22:13:20.000Z"
    assert told(ago_s=60, gate=1) == once
    assert told(ago_s=DAY_S, gate=1, worker=2) == f"{once}; 3 did since the start"
    assert told(ago_s=DAY_S + 1, gate=1) is None
    assert _hung({"hung": {"count": {}, "last": None}}, 0.0, utc=True) is None
    assert _hung({}, 0.0, utc=True) is None  # of an older version


def test_what_does_not_fit_the_named_list_is_told(tmp_path):
    state, listed = tmp_path / "server", tmp_path / "hosts.txt"
    listed.write_text("".join(f"{name}.example\n" for name in "abcd") + "ab" * 32 + "\n")
    (report,) = json_lines("server", "import", listed, "--state", state, "--list", "x-file-mw-8b")
    assert (report["lists"], report["elsewhere"]) == ({"mw-8b": 4, "x-file-mw-8b": 1}, {"mw-8b": 4})
    said = command("server", "import", listed, "--state", state, "--list", "x-file-mw-8b").stdout
    assert "4 in mw-8b, not in x-file-mw-8b: hosts or URLs" in said
    (report,) = json_lines("server", "import", listed, "--state", state)
    assert report["elsewhere"] == {}


def test_a_valkey_store_that_lost_its_data_is_told(tmp_path):
    with single(tmp_path / "valkey") as (url, [node]):
        config = tmp_path / "server.yaml"
        config.write_text(f"state: {tmp_path / 'server'}\nstore: {url}\n")

        def told():
            (status,) = json_lines("server", "status", "--config", config)
            return status["valkey"]

        assert told() == {
            "holds": False,
            "trouble": "the Valkey store holds no generation; a running publisher loads what it has",
        }
        store = ServerStore(tmp_path / "server")
        publish(store, now=0.0)

        async def push():
            publisher = ValkeyPublisher(url)
            await publisher.push(Generation(store.generation_folder(1)), now=0.0)
            await publisher.aclose()

        asyncio.run(push())
        assert told() == {"holds": True, "trouble": None}
        node.cli("flushall")
        assert "does not hold generation 000001" in command("server", "status", "--config", config).stdout
        node.kill()
        gone = told()
        assert not gone["holds"]
        assert gone["trouble"].startswith("cannot read from the Valkey store: ")


def test_pattern_update_mends_what_is_damaged(state):
    """As `doctor` advises, also while no proxy runs."""
    listed = state.parent / "list.txt"
    listed.write_text("one.example\n")
    json_lines("server", "import", listed, "--state", state / "server", "--list", "mw-8b")
    server_publish(state / "server")
    json_lines("pattern", "update", "--state", state)
    (stamp,) = (state / "pattern").glob("current.json")
    (table,) = (state / "pattern").glob("mw-8b.*.slh")
    for damaged in (stamp, table):
        damaged.write_bytes(b"{" + damaged.read_bytes()[5:])
        (told,) = json_lines("pattern", "update", "--state", state)
        assert "mw-8b" in told["taken"]
        assert json_lines("pattern", "verify", "--state", state)[0]["ok"]


def test_own_entries_beat_what_was_imported(tmp_path):
    state, listed = tmp_path / "server", tmp_path / "list.txt"
    listed.write_text("one.example\nhttp://two.example/bad/a.exe\nhttp://two.example/good/\n")
    json_lines("server", "import", listed, "--state", state, "--list", "mw-8b")
    digest = "ab" * 32
    (added,) = json_lines("server", "add", digest, "--list", "x-file-mw-8b", "--for", "1d", "--state", state)
    (path,) = json_lines("server", "except", "http://two.example/bad/", "--reason", "ours", "--state", state)
    assert (added["list"], path["scope"], path["reason"]) == ("x-file-mw-8b", "prefix", "ours")
    rows = {each["id"]: each for each in json_lines("server", "list", "--own", "--state", state)}
    assert set(rows) == {added["id"], path["id"]}
    assert rows[added["id"]]["expires"] > rows[added["id"]]["added"]
    assert all(each["who"] for each in rows.values())
    command("server", "remove", "one.example", "--state", state)
    server_publish(state)
    for subject, status in (
        (digest, 10), ("http://two.example/bad/a.exe", 0), ("http://two.example/good/", 10), ("one.example", 0)
    ):  # fmt: skip
        done = command("server", "check", subject, "--state", state, check=False)
        assert done.returncode == status, done.stdout
    command("server", "remove", path["id"], added["id"], "--state", state)
    server_publish(state)
    assert (
        command("server", "check", "http://two.example/bad/a.exe", "--state", state, check=False).returncode
        == 10
    )
    assert command("server", "check", digest, "--state", state).returncode == 0
    done = command("server", "remove", path["id"], "--state", state, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_import_of_what_is_not_there(tmp_path):
    done = command("server", "import", tmp_path / "none.txt", "--state", tmp_path / "s", check=False)
    assert done.returncode == 1
    assert "not a file" in done.stderr


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


def test_doctor_finds_trouble_and_says_what_to_do(state):
    done = command("doctor", "--state", state, "--json", check=False)
    assert done.returncode == 1
    findings = {each["check"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert findings["running"]["result"] == "problem"
    assert "secondlook run" in findings["running"]["remedy"]
    assert findings["disk"]["result"] == "ok"
    assert {"ledger", "pattern", "ca", "clock", "bypass"} <= set(findings)


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


def test_a_server_takes_back_and_goes_back_as_json(tmp_path):
    state = tmp_path / "server"
    for host in ("one.example", "two.example"):
        command("server", "add", host, "--state", state)
        server_publish(state)
    assert json_lines("server", "rollback", "--state", state) == [{"generation": 1, "held": True}]
    (removed,) = json_lines("server", "remove", "two.example", "--state", state)
    assert removed == {"subject": "two.example", "removed": "one own entry"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    assert "Usage" in command(name, "--help").stdout


def test_password_makes_a_hash_that_the_configuration_takes(tmp_path):
    import subprocess

    from argon2 import PasswordHasher

    from e2e.processes import SECONDLOOK
    from secondlook.config import load_settings

    done = subprocess.run(
        [*SECONDLOOK, "password"], input="hunter2\n", text=True, capture_output=True, check=True
    )
    config = tmp_path / "proxy.yaml"
    config.write_text(f'review: {{password: "{done.stdout.strip()}"}}\n')
    assert PasswordHasher().verify(load_settings(config).review.password, "hunter2")
    (told,) = json_lines("password", input="hunter2\n")
    assert PasswordHasher().verify(told["hash"].replace("$$", "$"), "hunter2")


def test_an_import_while_a_proxy_makes_its_folder_goes_to_its_embedded_server(state, tmp_path):
    hosts = tmp_path / "hosts.txt"
    hosts.write_text("0.0.0.0 bad.example\n")
    state.mkdir()
    lock = StateLock(state)  # the first that a starting proxy leaves
    on(state, "server", "import", hosts)
    lock.release()
    assert sorted(each.name for each in state.iterdir()) == ["lock", "server"]
    assert [each.name for each in (state / "server" / "sources").iterdir()] == ["0001-hosts.txt"]


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


NOON = datetime(2026, 3, 5, 12, 0, 7, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        (NOON + 3600, "14:00:07"),
        (NOON + 86_400, "05 Mar 14:00"),
        (NOON + 400 * 86_400, "2026-03-05 14:00"),
    ],
)
def test_a_terminal_gets_short_times_of_its_own_clock(monkeypatch, now, shown):
    monkeypatch.setattr(time, "time", lambda: now)
    with called(80, {"TZ": "Etc/GMT-2"}):
        assert time_told(NOON) == shown
        assert time_told(NOON, utc=True) == "2026-03-05T12:00:07.000Z"
        assert time_told(None) is None
    with called(None, {}):  # piped
        assert time_told(NOON) == "2026-03-05T12:00:07.000Z"


@contextmanager
def called(columns, environ):
    printed: list[str] = []
    token = CALLER.set(Caller(None, lambda _stream, text: printed.append(text), columns, environ))
    try:
        yield printed
    finally:
        CALLER.reset(token)


def test_a_hundred_columns_hold_the_log_and_the_rules_as_tables():
    event = make_event(
        "http://a.example/" + "x" * 80, host="a.example", client="192.168.100.100", list="mw-8b"
    )
    titles = {"mw-8b": "URLhaus, Phishing.Database (malware)"}
    with called(100, {"TERM": "dumb"}) as printed:
        print_table(COLUMNS, [_row(event, titles)], empty="", whole=WHOLE, spare=SPARE)
    head, *body = "".join(printed).splitlines()
    assert head.split() == ["time", "kind", "what", "client", "stage", "list", "or", "rule"]
    assert "URLhaus" in "".join(body)
    assert max(map(len, [head, *body])) <= 100
    rule = ("0" * 26, "block", "x" * 40, "domain", "192.168.100.0/24", "05 Mar 14:00", 12, "y" * 40)
    with called(100, {"TERM": "dumb"}) as printed:
        print_table(RULE_COLUMNS, [rule], empty="", spare=RULE_SPARE)
    assert "".join(printed).split()[:5] == ["id", "action", "subject", "expires", "reason"]


def test_people_read_the_names_of_lists_and_programs_the_short_ones(state, monkeypatch):
    write_events(state, make_event("http://shop.example/", host="shop.example", list="mw-8b"))
    monkeypatch.setattr(CommandContext, "list_titles", lambda _self: {"mw-8b": "URLhaus (malware)"})
    context = CommandContext(load_settings(None, state=state), None)

    def printed(columns):
        with called(columns, {"TERM": "dumb"}) as lines:
            log._show(context, EventFilter(), 10, follow=False, as_csv=False, as_json=False, utc=False)
        return "".join(lines)

    assert "URLhaus (malware)" in printed(200)
    piped = printed(None).splitlines()[1].split("\t")
    assert piped[COLUMNS.index("list or rule")] == "mw-8b", "the title changes with the feeds that come"
    (event,) = json_lines("log", "--state", state)
    assert event["list"] == "mw-8b"


@pytest.mark.parametrize(
    ("columns", "environ", "styled"),
    [
        (80, {"TERM": "xterm"}, True),
        (80, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (80, {"TERM": "dumb"}, False),
        (80, {}, False),
        (None, {"TERM": "xterm"}, False),
    ],
)
def test_escape_codes_go_to_a_terminal_that_wants_them_and_nowhere_else(columns, environ, styled):
    with called(columns, environ) as printed:
        print_table(("a", "b"), [("1", "2")], empty="")
        print_marked("PROBLEM", "  \x1b[31mhostile", "bad")
    table, marked = "".join(printed[:-1]), printed[-1]
    assert ("\x1b[" in table) == ("\x1b[1;31mPROBLEM\x1b[0m" in marked) == styled
    assert "\x1b[31m" not in marked


def test_listings_without_their_list_take_its_options(state):
    write_events(state, make_event("http://shop.example/"))
    for group in ("rules", "queue", "quarantine"):
        assert on(state, group, "--utc").returncode == 0


def test_doctor_shows_on_a_terminal_that_it_is_at_work(state, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    async def slowly(_settings):
        yield Finding("disk", "problem", "full", "delete something")

    monkeypatch.setattr("secondlook.run.diagnosis.diagnosis.diagnose", slowly)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    context = CommandContext(load_settings(None, state=state), None)
    assert asyncio.run(doctor._examine(context, as_json=False)) == 1
    assert capsys.readouterr().out.startswith("PROBLEM  disk      full")
    shown = terminal.getvalue()
    assert shown.startswith("looking …\r")
    assert not shown.splitlines()[-1].strip(), "and wipes it away again"
    assert "\x1b" not in shown
