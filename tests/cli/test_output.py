"""What is printed: tables on narrow terminals, times, names, and hostile text."""

import time
from datetime import UTC, datetime

import pytest

from cli.calling import HOSTILE, called, make_event, on, write_events
from e2e.processes import json_lines
from secondlook.cli.output import print_marked, print_table, progress, time_text
from secondlook.cli.records.log import COLUMNS, SPARE, WHOLE, _row
from secondlook.cli.rules.rules import COLUMNS as RULE_COLUMNS
from secondlook.cli.rules.rules import SPARE as RULE_SPARE
from secondlook.core.verdict import SubjectClass


def test_times_and_ids_are_whole_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    event = make_event("http://a.example/a/long/way/" + "x" * 60, host="a.example", client="10.0.0.1")
    print_table(COLUMNS, [_row(event)], empty="", whole=WHOLE)
    shown = capsys.readouterr().out
    assert event.id in shown
    assert f"time {time_text(event.time)}" in shown


def test_one_long_address_does_not_fill_the_screen_of_a_table(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    url = "http://a.example/" + "x" * 5000 + "/setup.exe"
    print_table(("what", "times"), [(url, 1)], empty="")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 6
    assert "…" in "".join(lines)
    assert "setup.exe" in "".join(line.split()[0] for line in lines)


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


def test_hostile_text_is_shown_harmless(state):
    write_events(state, make_event(HOSTILE, client="=cmd|'/c calc'!A1", cls=SubjectClass.PAGE))
    for arguments in (("log",), ("log", "--csv"), ("log", "--json"), ("log", "--limit", "5")):
        shown = on(state, *arguments).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    (event,) = json_lines("log", "--state", state)
    assert event["url"] == HOSTILE
    assert "'=cmd|" in on(state, "log", "--csv").stdout


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
        assert time_text(NOON) == shown
        assert time_text(NOON, utc=True) == "2026-03-05T12:00:07.000Z"
        assert time_text(None) is None
    with called(None, {}):  # piped
        assert time_text(NOON) == "2026-03-05T12:00:07.000Z"


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


def test_work_has_a_bar_on_a_terminal_alone(monkeypatch, capsys):
    with progress("reading", 4) as advance:
        advance(4)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress("reading", 4) as advance:
        advance(1)
        advance(3)
    shown = capsys.readouterr().err
    assert "reading" in shown
    assert "100%" in shown
