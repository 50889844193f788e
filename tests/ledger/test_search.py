"""The search index: what is added is found, and what is taken away or changed is found no more."""

import pytest

from ledgerkit.made import make_ledger
from ledgerkit.samples import START, make_event
from secondlook.ledger.engine.tables import events
from secondlook.ledger.ledger import Ledger
from secondlook.ledger.log import search

HOSTS = ("shop.example", "forum.example", 'quo"ted.example', "late.example")


@pytest.fixture
def log(tmp_path, open_ledger):
    ledger = open_ledger(make_ledger(tmp_path / "ledger.sqlite3"), background=False)
    for number, host in enumerate(HOSTS):
        ledger.recorder.record(make_event(at=START + number, host=host, client=f"10.0.0.{number}", url=None))
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    return ledger


def add(log: Ledger, most: int = 100) -> int:
    return log.store.commit_now(lambda connection: search.add_next(connection, most))


def texts(log: Ledger) -> dict[int, str]:
    rows = log.store.read(
        lambda connection: connection.execute(events.select().order_by(events.c.seq)).mappings().all()
    )
    return {row["seq"]: search.text_of(row) for row in rows}


def found(log: Ledger, word: str) -> list[str]:
    query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid"
    rows = log.store.read(
        lambda connection: connection.exec_driver_sql(query, (search.match_of(word),)).all()
    )
    host = dict(zip(texts(log), HOSTS, strict=True))
    return [host[row[0]] for row in rows]


def test_events_are_added_in_order_a_few_at_a_time(log):
    assert found(log, "example") == []
    for many in (2, 2, 0):
        assert add(log, 2) == many
    assert found(log, "example") == list(HOSTS)
    assert log.store.read(search.indexed_upto) == max(texts(log))


def test_what_is_not_added_yet_lies_behind_the_mark(log):
    add(log, 3)
    assert found(log, "example") == list(HOSTS[:3])
    assert log.store.read(search.indexed_upto) == sorted(texts(log))[2]


@pytest.mark.parametrize(
    ("word", "hosts"),
    [
        ("forum", ["forum.example"]),
        ('quo"ted', ['quo"ted.example']),
        ("0.0.2", ['quo"ted.example']),
        ("zzz", []),
    ],
)
def test_a_word_is_found_in_whatever_is_searched(log, word, hosts):
    add(log)
    assert found(log, word) == hosts


def test_what_is_removed_is_found_no_more(log):
    add(log)
    gone = [(seq, text) for seq, text in texts(log).items() if "forum" in text]
    log.store.commit_now(lambda connection: search.remove(connection, gone))
    log.store.commit_now(lambda connection: search.remove(connection, []))
    assert found(log, "forum") == []
    assert found(log, "example") == [host for host in HOSTS if "forum" not in host]


def test_another_text_takes_the_place_of_what_was_added_and_of_nothing_else(log):
    add(log, 3)
    now = texts(log)
    log.store.commit_now(
        lambda connection: search.replace(
            connection, [(seq, text, text.replace("example", "erased")) for seq, text in now.items()]
        )
    )
    assert found(log, "example") == []
    assert found(log, "erased") == list(HOSTS[:3])
    assert add(log) == 1
    assert found(log, "late") == ["late.example"]


def test_a_merge_comes_to_an_end_and_loses_nothing(log):
    for _ in HOSTS:
        add(log, 1)
    gone = [(seq, text) for seq, text in texts(log).items() if "forum" in text]
    log.store.commit_now(lambda connection: search.remove(connection, gone))
    log.store.commit_now(search.begin_merge)
    for _ in range(100):
        if not log.store.commit_now(search.merge):
            break
    else:
        pytest.fail("it goes on for ever")
    assert found(log, "example") == [host for host in HOSTS if "forum" not in host]


def test_the_text_of_an_event_is_what_is_searched_and_no_more(log):
    row = dict.fromkeys(column.name for column in search.TEXT_COLUMNS)
    assert search.text_of(row) == ""
    assert search.text_of({**row, "host": "a", "url": "b", "detail": "not searched"}) == "b\na"


@pytest.mark.parametrize(
    ("word", "query"),
    [("abc", '"abc"'), ("abcd", '"abc" AND "bcd"'), ("aaaaa", '"aaa"'), ('a"b', '"a""b"')],
)
def test_a_word_is_all_of_its_trigrams(word, query):
    assert search.match_of(word) == query
    assert search.match_of(word, "xyz") == f'{query} OR "xyz"'


def test_elsewhere_there_is_no_index_to_change(ledger):
    if not ledger.store.place.sqlite:
        ledger.store.commit_now(lambda connection: search.replace(connection, [(1, "before", "after")]))
