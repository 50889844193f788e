"""What one process changes, another has in force within a second; and start-up of many at once."""

import json
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ledgerkit.samples import START, identity_of, make_confirmed, make_event, make_flag
from secondlook.core.event import EventKind
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.subject import SubjectKind
from secondlook.ground.errors import ConfigError, LedgerError
from secondlook.ledger.engine import migration
from secondlook.ledger.engine.database import bare_engine, find_place
from secondlook.ledger.engine.tables import metadata
from secondlook.ledger.ledger import Ledger, LedgerOptions

pytestmark = pytest.mark.anyio

RULE = Rule(
    id="r1",
    action="block",
    scope=Scope.DOMAIN,
    subject="bad.example",
    client=None,
    reason=None,
    created=START,
    expires=None,
)


def within_a_second(condition) -> None:
    deadline = time.monotonic() + 1.0
    while not condition():
        assert time.monotonic() < deadline, "not in force within a second"
        time.sleep(0.02)


async def test_a_rule_of_another_process_is_in_force_within_a_second(place, open_ledger):
    here, there = open_ledger(place), open_ledger(place)
    assert list(here.rules()) == []
    version = here.version()
    within_a_second(lambda: here.watch.version() == version)
    there.add_rule(RULE)
    within_a_second(lambda: here.version() != version)
    assert [rule.id for rule in here.rules()] == ["r1"]
    there.remove_rule("r1")
    within_a_second(lambda: not here.rules())


async def test_pauses_and_confirmed_subjects_travel_too(place, open_ledger):
    here, there = open_ledger(place), open_ledger(place)
    assert list(here.confirmed()) == []
    there.add_pause(3, client="10.0.0.1")
    within_a_second(lambda: len(here.pauses()) == 1)
    for number in range(5):
        await there.confirm(make_confirmed(number), make_event(EventKind.CONFIRMED))
    within_a_second(lambda: len(here.confirmed()) == 5)
    await there.withdraw(identity_of(3), make_event(EventKind.WITHDRAWN))
    await there.extend([identity_of(4)], START + 9999)
    within_a_second(lambda: len(here.confirmed()) == 4)
    assert {entry.expires_at for entry in here.confirmed()} == {START + 300, START + 9999}


async def test_traffic_alone_wakes_nobody(place, open_ledger):
    here, there = open_ledger(place), open_ledger(place)
    version = here.version()
    snapshot = here.rules()
    await there.flag(*make_flag("one"))
    assert here.version() == version
    assert here.rules() is snapshot


async def test_two_recheckers_do_no_work_twice(place, open_ledger):
    first, second = open_ledger(place), open_ledger(place)
    for number in range(60):
        await first.flag(*make_flag(number, START + number))
    taken: list[str] = []
    while True:
        one = await first.take_due(START + 1000, limit=7, lease_s=60)
        two = await second.take_due(START + 1000, limit=7, lease_s=60)
        if not one and not two:
            break
        taken += [entry.id for entry in (*one, *two)]
    assert len(taken) == len(set(taken)) == 60


async def test_rules_of_the_configuration_are_replaced_as_a_whole(place, open_ledger):
    ledger = open_ledger(place)
    ledger.add_rule(RULE)
    ours = [replace(RULE, id=f"c{number}", source="config", subject=f"{number}.example") for number in (1, 2)]
    assert ledger.set_config_rules(ours)
    version = ledger.version()
    assert not ledger.set_config_rules(ours)
    assert ledger.version() == version
    assert ledger.set_config_rules(ours[1:])
    assert {rule.id for rule in ledger.rules()} == {"r1", "c2"}


async def test_hits_are_counted_in_events_and_beside_them(place, open_ledger):
    ledger = open_ledger(place)
    ledger.add_rule(RULE)
    version = ledger.version()
    ledger.record(make_event(EventKind.BLOCKED, rule="r1", stage="rules"))
    ledger.count_hit("r1")
    ledger.count_hit("gone")
    assert [rule.hits for rule in ledger.list_rules()] == [2]
    assert ledger.version() == version
    ledger.add_rule(replace(RULE, reason="new", hits=0))
    assert [(rule.hits, rule.reason) for rule in ledger.list_rules()] == [(2, "new")]


async def test_pausing_tells_the_log(place, open_ledger, clock):
    ledger = open_ledger(place)
    ledger.add_pause(5, client="10.0.0.1")
    clock.at += 1
    ledger.end_pauses(client="10.0.0.1")
    assert ledger.end_pauses(client="10.0.0.1") == 0
    assert [event.detail for event in ledger.export()] == [
        "protection off for 10.0.0.1 for 5 minutes",
        "protection on again",
    ]


async def test_allowed_checks_may_be_counted_only(tmp_path, open_ledger):
    ledger = open_ledger(tmp_path / "ledger.sqlite3", log_allowed=False)
    ledger.record(make_event(EventKind.CHECK))
    ledger.tally(EventKind.CHECK, "allow", "pattern", at=START)
    ledger.flush_counts()
    ledger.commit_now(lambda _: None)
    assert ledger.events().events == ()
    assert ledger.hourly(START, START)[0].checked == 2


async def test_everything_can_be_exported(place, open_ledger):
    ledger = open_ledger(place)
    await ledger.flag(*make_flag("one"))
    await ledger.confirm(make_confirmed("two"), make_event(EventKind.CONFIRMED))
    ledger.add_rule(RULE)
    ledger.add_pause(5)
    for number in range(5):
        event = make_event(EventKind.CHECK, START + number % 2, client="c")
        ledger.remember(identity_of(number), (identity_of(number),), SubjectKind.URL, event)
    records = [json.loads(json.dumps(record)) for record in ledger.export_everything()]
    counts = Counter(record["record"] for record in records)
    assert counts == {"queue": 1, "confirmed": 1, "rule": 1, "pause": 1, "history": 5, "event": 3}


# -- opening -----------------------------------------------------------------------------------------


def open_and_count(location: str, journal: str) -> int:
    ledger = Ledger.open(location, LedgerOptions(journal_bytes=1 << 16), journal=Path(journal))
    ledger.add_rule(replace(RULE, id=""))
    ledger.close()
    return 1


def test_many_processes_may_open_a_new_ledger_at_once(place, tmp_path):
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(open_and_count, [place] * 8, [str(tmp_path / "flags.journal")] * 8, timeout=120))
    assert sum(done) == 8
    ledger = Ledger.open(place, journal=tmp_path / "flags.journal")
    assert len(ledger.rules()) == 8
    ledger.close()


def test_the_migrations_give_the_tables_of_the_code(place, tmp_path):
    Ledger.open(place, journal=tmp_path / "flags.journal").close()
    engine = bare_engine(find_place(place))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_object": lambda _thing, name, *_: not str(name).startswith("words"),
                "compare_type": False,
            },
        )
        differences = [
            change
            for change in compare_metadata(context, metadata)
            if change[0] != "remove_index" or change[1].name != "events_tx"
        ]
        differences = [
            change for change in differences if not (change[0] == "remove_column" and change[3].name == "tx")
        ]
    engine.dispose()
    assert differences == []


def test_the_head_is_the_newest_script():
    scripts = ScriptDirectory(str(migration._SCRIPTS))
    assert scripts.get_heads() == [migration.HEAD]
    assert migration.HEAD in migration.known_revisions()


def test_a_ledger_of_a_newer_program_is_refused(place, tmp_path):
    Ledger.open(place, journal=tmp_path / "flags.journal").close()
    engine = bare_engine(find_place(place))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(LedgerError, match=r"newer Second Look \(schema 9999.*upgrade the program"):
        Ledger.open(place, LedgerOptions(keeper=True), journal=tmp_path / "flags.journal")


@pytest.mark.parametrize("address", ["mysql://x/y", "postgres://h:notaport/db", "sqlite://"])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(ConfigError, match="ledger"):
        find_place(address)


def test_a_database_that_is_not_there_is_told_in_words(tmp_path):
    with pytest.raises(LedgerError, match="ledger postgresql"):
        Ledger.open(f"postgresql://nobody@/none?host={tmp_path}", journal=tmp_path / "flags.journal")


def test_passwords_are_not_shown():
    place = find_place("postgresql://user:secret@db.example/ledger")
    assert "secret" not in str(place)


def test_a_command_loads_neither_alembic_nor_postgresql(tmp_path):
    Ledger.open(tmp_path / "ledger.sqlite3").close()
    code = (
        "import sys; from secondlook.ledger.ledger import Ledger, LedgerOptions\n"
        f"Ledger.open({str(tmp_path / 'ledger.sqlite3')!r}, LedgerOptions(background=False)).close()\n"
        "print([name for name in ('alembic', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    assert done.stdout.strip() == "[]"
