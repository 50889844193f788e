"""The event log as it is read: found, exported, followed; errors in words."""

import pytest

from ledgerkit.samples import START, make_event
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions
from secondlook.ledger.log.search import add_next

pytestmark = pytest.mark.anyio


def test_an_event_is_found_by_its_id_alone(ledger):
    event = make_event(EventKind.BLOCKED)
    ledger.recorder.note(event)
    found = ledger.events.find(event.id)
    assert found is not None
    assert (found.id, found.url) == (event.id, event.url)
    assert ledger.events.find("nobody") is None


@pytest.mark.parametrize("newest_first", [False, True])
def test_an_export_gives_what_is_wanted_in_order(ledger, newest_first):
    kinds = [EventKind.BLOCKED, EventKind.CHECK, EventKind.BLOCKED]
    made = [make_event(kind, START + number) for number, kind in enumerate(kinds)]
    for event in made:
        ledger.recorder.note(event)
    found = ledger.events.export(EventFilter(kind="blocked"), newest_first=newest_first)
    assert [event.id for event in found] == [made[at].id for at in ((2, 0) if newest_first else (0, 2))]


@pytest.mark.parametrize("newest_first", [False, True])
def test_an_export_up_to_a_cursor_and_the_tail_after_it_give_each_event_once(ledger, newest_first):
    made = [make_event(EventKind.BLOCKED, START + number) for number in range(6)]
    for event in made[:3]:
        ledger.recorder.note(event)
    cursor = ledger.events.end()
    export = ledger.events.export(newest_first=newest_first, upto=cursor)
    for event in made[3:]:
        ledger.recorder.note(event)
    assert {event.id for event in export} == {event.id for event in made[:3]}
    assert [event.id for event in ledger.events.tail(after=cursor)[0]] == [event.id for event in made[3:]]


def test_an_error_of_the_engine_is_in_words(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", LedgerOptions(background=False), report=lambda _: None)
    ledger.store.commit_now(
        lambda connection: connection.exec_driver_sql("ALTER TABLE events RENAME TO away")
    )
    for reading in (
        ledger.events.page,
        ledger.events.end,
        lambda: ledger.events.find("any"),
        lambda: ledger.events.tail(after="s0"),
        lambda: list(ledger.events.export()),
    ):
        with pytest.raises(LedgerError, match="no such table"):
            reading()
    ledger.close()


async def test_follow_yields_what_is_written_from_now_on(ledger):
    before, *after = [make_event(EventKind.BLOCKED, START + number) for number in range(3)]
    ledger.recorder.note(before)
    stream = ledger.events.follow(EventFilter(), after=ledger.events.end())
    for event in after:
        ledger.recorder.note(event)
    assert [(await anext(stream)).id for _ in after] == [event.id for event in after]
    await stream.aclose()


async def test_following_ends_with_the_times_that_are_wanted(ledger, clock):
    made = [make_event(EventKind.BLOCKED, START + number) for number in range(3)]
    cursor = ledger.events.end()
    for event in made:
        ledger.recorder.note(event)
    clock.at = START + 5
    stream = ledger.events.follow(EventFilter(until=START + 2), after=cursor)
    assert [event.id async for event in stream] == [event.id for event in made[:2]]


@pytest.mark.parametrize("indexed", [False, True])
def test_an_international_host_is_found_by_its_own_letters(ledger, place, indexed):
    url = "https://xn--bcher-kva.example/%C3%BCbersicht"
    event = make_event(EventKind.BLOCKED, START, host="xn--bcher-kva.example", url=url)
    ledger.recorder.note(event)
    if indexed and "sqlite" in place:
        ledger.store.commit_now(lambda connection: add_next(connection, 10))
    for search in ("bücher", "BÜCHER.example", "https://bücher.example/übersicht", "übersicht bücher"):
        assert [found.id for found in ledger.events.export(EventFilter(search=search))] == [event.id], search
    assert not list(ledger.events.export(EventFilter(search="büche.example")))


@pytest.mark.parametrize("word", ["。。。", "a\u00adb", "\u00ad" * 3])
def test_a_word_of_which_little_is_left_in_a_host_is_looked_for_all_the_same(ledger, place, word):
    ledger.recorder.note(make_event(EventKind.BLOCKED, START))
    ledger.recorder.note(event := make_event(EventKind.BLOCKED, START, filename=word))
    if "sqlite" in place:
        ledger.store.commit_now(lambda connection: add_next(connection, 10))
    assert [found.id for found in ledger.events.export(EventFilter(search=word))] == [event.id]
