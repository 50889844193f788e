"""Calls of commands on a state folder, and what such a folder may hold."""

from contextlib import contextmanager

from e2e.processes import command
from secondlook.cli.caller import CALLER, Caller
from secondlook.core.event import Event, EventKind
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import Ledger

HOSTILE = 'http://evil.example/\x1b[31m"><script>alert(1)</script>\u202egnp.exe'


def on(state, *arguments, check=True):
    return command(*arguments, "--state", state, check=check)


def write_events(state, *events: Event) -> None:
    state.mkdir(parents=True, exist_ok=True)
    ledger = Ledger.open(state / "ledger.sqlite3")
    for event in events:
        ledger.recorder.record(event)
    ledger.close()


def make_event(url: str, **fields: object) -> Event:
    given = {"kind": EventKind.BLOCKED, "time": 1_790_000_000.25, "decision": "block", **fields}
    return Event(id=make_id(), url=url, **given)


@contextmanager
def called(columns, environ):
    printed: list[str] = []
    token = CALLER.set(Caller(None, lambda _stream, text: printed.append(text), columns, environ, "sl"))
    try:
        yield printed
    finally:
        CALLER.reset(token)
