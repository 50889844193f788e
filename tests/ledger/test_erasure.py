"""A client or user is erased: everywhere, with what nobody else met."""

import sqlite3
from dataclasses import replace

import pytest

from ledgerkit.contract import confirm, remembered
from ledgerkit.samples import START, identity_of, make_confirmed, make_event, make_flag, make_rule, make_visit
from ledgerkit.secrets import found_in_files, live
from secondlook.core.event import EventKind
from secondlook.core.rules.client import login_name
from secondlook.core.rules.rule import Scope
from secondlook.core.subject import SubjectKind
from secondlook.ground.errors import LedgerError
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import EventFilter
from secondlook.ledger.log import search
from secondlook.ledger.queue import history
from secondlook.ledger.queue.journal_record import flag_record
from secondlook.ledger.upkeep import housekeeping

pytestmark = pytest.mark.anyio


async def test_one_client_is_erased_everywhere(tmp_path, open_ledger):
    folder = tmp_path / "state"
    ledger = open_ledger(folder / "ledger.sqlite3", journal=folder / "flags.journal")
    await live(ledger)
    await ledger.flags.flag(*make_flag("hidden", START + 1, client="10.66.66.6"))
    told = "got through: 10.66.66.66 at 12:00, 10.66.66.6 at 12:01"
    ledger.recorder.record(
        make_event(EventKind.LATE_VERDICT, detail=told, extra={"clients": ["10.66.66.66"]})
    )
    gone = ledger.upkeep.erase_client("10.66.66.66")
    assert gone == 4
    assert "10.66.66.66" not in found_in_files(folder)
    (late,) = ledger.events.page(EventFilter(kind="late_verdict")).events
    assert late.detail == "got through: (erased) at 12:00, 10.66.66.6 at 12:01"
    assert late.extra == {"clients": ["(erased)"]}
    (entry,) = ledger.queue.page()
    assert entry.clients == ("10.66.66.6",)
    assert entry.count == 2


@pytest.mark.parametrize("leaves", [True, False])
async def test_who_reads_meanwhile_keeps_nothing_that_was_erased(tmp_path, open_ledger, monkeypatch, leaves):
    monkeypatch.setattr(housekeeping, "WHOLE_S", 60.0 if leaves else 0.0)
    folder = tmp_path / "state"
    ledger = open_ledger(folder / "ledger.sqlite3", journal=folder / "flags.journal", background=False)
    await ledger.flags.flag(*make_flag("one", client="10.66.66.66"))
    reader = sqlite3.connect(folder / "ledger.sqlite3", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchall()
    try_once, tries = ledger.upkeep._checkpoint, []

    def tried(path, mode):
        done, held = try_once(path, mode)
        if mode == "TRUNCATE":
            tries.append(done)
            if leaves:
                reader.execute("COMMIT")
                ledger.upkeep._checkpoint = try_once
        return done, held

    ledger.upkeep._checkpoint = tried
    if leaves:
        assert ledger.upkeep.erase_client("10.66.66.66") == 1
        assert "10.66.66.66" not in found_in_files(folder)
    else:
        with pytest.raises(LedgerError, match="its WAL still holds it"):
            ledger.upkeep.erase_client("10.66.66.66")
    assert tries[0] is False
    reader.close()


async def test_erasing_works_on_each_engine(place, open_ledger):
    ledger = open_ledger(place)
    await ledger.flags.flag(*make_flag("one", client="10.0.0.1"))
    await ledger.flags.flag(*make_flag("one", START + 1, client="10.0.0.2"))
    assert ledger.upkeep.erase_client("10.0.0.1") == 1
    assert [event.client for event in ledger.events.page().events] == ["10.0.0.2"]
    assert ledger.queue.page()[0].clients == ("10.0.0.2",)


async def leave_traces(ledger, name, *clients, user=None):
    """What clients leave of a listed page and a bad file, in every table."""
    page, file = make_flag(name, url=f"https://{name}.example/p?q={name}"), identity_of(f"{name}.exe")
    for at, client in enumerate(clients):
        told = {"client": client, "user": user, "url": page[1].url, "host": page[1].host}
        event = replace(page[0], id=make_id(START + at), **told)
        await ledger.flags.flag(event, replace(page[1], client=client))
        ledger.history.remember(make_visit((identity_of(f"{name}/"),), event))
        ledger.recorder.record(
            make_event(EventKind.BLOCKED, **told, filename=f"{name}.exe", identity=file, sha256=file.hex())
        )
    where = {"url": page[1].url, "host": page[1].host, "filename": f"{name}.exe", "expression": f"{name}/p"}
    bad = make_confirmed(f"{name}.exe", **where, kind=SubjectKind.FILE, sha256=file.hex())
    reblock = make_confirmed(f"reblock {name}", hit=identity_of(f"{name}/"), **where)
    closing = make_event(
        EventKind.CONFIRMED, url=page[1].url, identity=file, extra={"clients": list(clients)}
    )
    await confirm(ledger, bad, closing)
    await confirm(ledger, reblock, None)
    assert [part async for part in ledger.history.remembered(since=0)]
    subject = f"https://{name}.example/p?q={name}"
    rule = make_rule(
        scope=Scope.URL,
        subject=subject,
        client=login_name(clients[0], user),
        created=START,
        expires=START + 60,
        source="override",
    )
    ledger.rules.add(rule)


async def test_an_erased_client_leaves_nothing_in_the_journal(place, open_ledger, tmp_path):
    ledger = open_ledger(place, background=False)
    event, entry = make_flag("onlyhers", url="https://onlyhers.example/")
    ledger.flags.journal.append(
        flag_record(replace(event, client="10.0.0.1"), replace(entry, client="10.0.0.1"))
    )
    ledger.upkeep.erase_client("10.0.0.1")
    assert b"onlyhers" not in b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())


async def test_where_only_an_erased_client_met_a_file_of_others_is_forgotten(place, open_ledger, tmp_path):
    """The same file from two addresses: each table tells one of them, the erased client's."""
    ledger, file = open_ledger(place), identity_of("setup.exe")
    for at, (client, name) in enumerate((("10.0.0.2", "others"), ("10.0.0.1", "onlyhers"))):
        told = {
            "client": client,
            "url": f"https://{name}.example/f",
            "host": f"{name}.example",
            "filename": name,
        }
        event = make_event(EventKind.BLOCKED, START + at, **told, identity=file, sha256=file.hex())
        ledger.recorder.record(event)
        ledger.history.remember(make_visit((file,), event, SubjectKind.FILE))
        ended = {"id": make_id(START + 9 + at), "kind": EventKind.ACTION, "subject": SubjectKind.FILE}
        ledger.recorder.record(
            replace(event, **ended, client=None, extra={"clients": ["10.0.0.1", "10.0.0.2"]})
        )
        bad = make_confirmed(
            "setup.exe", url=told["url"], host=told["host"], filename=name, kind=SubjectKind.FILE
        )
        await confirm(ledger, bad, None)
    if ledger.store.place.sqlite:
        ledger.store.commit_now(lambda connection: search.add_next(connection, 100))
    assert len(ledger.events.page(EventFilter(search="onlyhers")).events) == 2
    ledger.upkeep.erase_client("10.0.0.1")
    assert [event.url for event in ledger.events.page().events] == [None, *["https://others.example/f"] * 2]
    assert not ledger.events.page(EventFilter(search="onlyhers")).events
    assert len(ledger.events.page(EventFilter(search=file.hex()[:20])).events) == 3
    assert b"onlyhers" not in b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.is_file())
    (kept,) = [seen async for part in ledger.history.remembered(since=0) for seen in part]
    (bad,) = ledger.snapshots.confirmed()
    assert (kept.identity, bad.identity) == (file, file)
    assert "onlyhers" not in repr((kept, bad))


@pytest.mark.parametrize("user", [None, "anna"])
async def test_what_only_an_erased_client_met_is_known_by_hash_alone(place, open_ledger, tmp_path, user):
    ledger = open_ledger(place)
    await leave_traces(ledger, "onlyhers", "10.0.0.1", user=user)
    await leave_traces(ledger, "shared", "10.0.0.1", "10.0.0.2", user=user)
    version = ledger.snapshots.version()
    ledger.upkeep.erase_client("10.0.0.1")
    kept = [
        *ledger.events.page().events, *ledger.queue.page(), *ledger.snapshots.confirmed(), *ledger.snapshots.rules(),
        *remembered(ledger),
    ]  # fmt: skip
    assert "onlyhers" not in repr(kept)
    assert "10.0.0.1'" not in repr(kept)
    # protection goes on by hash, and what somebody else met is still told
    assert {entry.identity for entry in ledger.queue.page()} == {
        identity_of("onlyhers"),
        identity_of("shared"),
    }
    assert len(ledger.snapshots.confirmed()) == 4
    assert {entry.url for entry in ledger.snapshots.confirmed()} == {
        None,
        "https://shared.example/p?q=shared",
    }
    assert "https://shared.example/p?q=shared" in {entry.url for entry in ledger.queue.page()}
    assert ledger.snapshots.version() != version
    assert not ledger.snapshots.rules()
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"onlyhers" not in files


async def test_the_history_is_read_a_batch_at_a_time(place, open_ledger):
    """It may hold millions; what is forgotten meanwhile is not in memory any more."""
    ledger = open_ledger(place)
    for number in range(6):
        event = make_event(
            EventKind.CHECK, START + number, url=f"https://{number}.example/", client="10.0.0.1"
        )
        ledger.history.remember(make_visit((identity_of(number),), event))
    batches = ledger.history.remembered(since=0, batch=2)
    met = await anext(batches)
    await ledger.run(
        ledger.store.commit_now, lambda connection: history.sweep(connection, older_than=START + 4)
    )
    met += [entry for part in [part async for part in batches] for entry in part]
    kept = {identity_of(4), identity_of(5)}
    assert {entry.identity for entry in met[2:]} == kept - {entry.identity for entry in met[:2]}
    found = await ledger.history.recall([identity_of(2), identity_of(4)])
    assert [entry.identity for entry in found] == [identity_of(4)]


async def test_what_only_an_erased_user_met_is_known_by_hash_alone(place, open_ledger):
    ledger = open_ledger(place)
    root = {"identity": identity_of("onlyhers/"), "client": "10.0.0.1", "user": "anna"}
    ledger.recorder.record(make_event(EventKind.CHECK, **root))  # with `log.all`
    await leave_traces(ledger, "onlyhers", "10.0.0.1", user="anna")
    ledger.upkeep.erase_client("anna")
    left = [ledger.queue.page(), remembered(ledger)]
    assert "onlyhers" not in repr(
        [ledger.snapshots.confirmed(), ledger.snapshots.rules(), ledger.events.page(), left]
    )
