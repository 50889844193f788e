"""The log: its keys, filters and names, and a client erased from it."""

import os

import pytest
from typer.testing import CliRunner

from agentkit.notices import notice
from cli.calling import called, make_event, on, write_events
from e2e.processes import json_lines
from secondlook.agent.actions.kept_notices import KeptNotices
from secondlook.cli.context import CommandContext
from secondlook.cli.records import log
from secondlook.cli.records.log import COLUMNS
from secondlook.core.event import EventKind
from secondlook.ledger.log.event_log import EventLog
from secondlook.ledger.log.filter import EventFilter
from secondlook.ledger.log.shape import EVENT_KEYS


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--since 5m --until 1h", "no time lies between --since 5m and --until 1h"),
        ("--since 1h --until 1h", "no time lies between --since 1h and --until 1h"),
        ("--since 2026-12-02 --until 2026-12-01", "no time lies between --since 2026-12-02"),
        ("--decision ,", "--decision: expected one of allow, block, flag, got nothing"),
    ],
)
def test_what_can_fit_no_event_is_a_mistake_and_no_empty_log(state, words, told):
    done = CliRunner().invoke(log.app, [*words.split(), "--state", str(state)])
    assert done.exit_code == 2
    assert told in done.output


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


def test_what_is_written_while_the_log_is_listed_is_followed_and_not_listed(state, monkeypatch):
    write_events(state, make_event("http://a.example/1"))
    shown = []
    end = EventLog.end

    def end_and_more(self):
        cursor = end(self)
        write_events(state, make_event("http://a.example/2"))
        return cursor

    def show(event):
        shown.append(event["url"])
        if len(shown) == 1:
            write_events(state, make_event("http://a.example/3"))
        if shown[-1].endswith("3"):
            raise KeyboardInterrupt

    monkeypatch.setattr(EventLog, "end", end_and_more)
    monkeypatch.setattr(log, "print_json", show)
    context = CommandContext(None, state, as_json=True)
    with pytest.raises(KeyboardInterrupt):
        log._show(context, EventFilter(), None, follow=True, as_csv=False, utc=True)
    assert shown == [f"http://a.example/{number}" for number in (1, 2, 3)]


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
        (["--erase-client", "10.0.0.0/24", "--yes"], 2),  # a network is erased address by address
        (["--erase-client", "ann@10.0.0.7", "--yes"], 2),
        (["--client", "10.0.0.0/24"], 2),
        (["--yes"], 2),
    ):
        assert on(state, "log", *arguments, check=False).returncode == status
    assert len(json_lines("log", "--state", state)) == 2
    waiting = KeptNotices(state / "notices.json")
    waiting.write({"confirmed": ([notice(clients=("10.0.0.7",))], 0)})
    (erased,) = json_lines("log", "--erase-client", "10.0.0.7/32", "--yes", "--state", state)
    assert erased == {"client": "10.0.0.7", "events": 1}
    assert [event["client"] for event in json_lines("log", "--state", state)] == ["10.0.0.8"]
    assert "bad.test" not in waiting.path.read_text()
    assert "set aside" not in on(state, "log", "--erase-client", "10.0.0.7", "--yes").stdout
    (state / "ledger.sqlite3.damaged-20260921T141320").touch()
    assert "damaged-20260921T141320" in on(state, "log", "--erase-client", "10.0.0.7", "--yes").stdout


def test_people_read_the_names_of_lists_and_programs_the_short_ones(state, monkeypatch):
    write_events(state, make_event("http://shop.example/", host="shop.example", list="mw-8b"))
    monkeypatch.setattr(CommandContext, "list_titles", lambda _self: {"mw-8b": "URLhaus (malware)"})
    context = CommandContext(None, state)
    assert context.state == state

    def printed(columns):
        with called(columns, {"TERM": "dumb"}) as lines:
            log._show(context, EventFilter(), 10, follow=False, as_csv=False, utc=False)
        return "".join(lines)

    assert "URLhaus (malware)" in printed(200)
    piped = printed(None).splitlines()[1].split("\t")
    assert piped[COLUMNS.index("list or rule")] == "mw-8b", "the title changes with the feeds that come"
    (event,) = json_lines("log", "--state", state)
    assert event["list"] == "mw-8b"


def test_what_became_of_a_server_is_in_plain_words(state):
    for detail in ("opened: refused", "closed: answers again", "on the intranet"):
        write_events(state, make_event("", kind=EventKind.SERVER, server="office", detail=detail))
    rows = [line.split("\t")[COLUMNS.index("what")] for line in on(state, "log").stdout.splitlines()[1:]]
    assert rows == ["office stopped answering: refused", "office answers again", "office on the intranet"]
    assert json_lines("log", "--state", state)[0]["detail"] == "opened: refused"


def test_following_ends_with_the_times_that_are_wanted(state):
    write_events(state, make_event("http://a.example/1"))
    assert "a.example" in on(state, "log", "--follow", "--until", "2026-10-01").stdout
