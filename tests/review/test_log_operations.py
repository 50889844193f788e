"""The log read by pages from both ends, and followed."""

import asyncio

import pytest

from review.stage import keep, make_event
from secondlook.ledger.ledger import EventFilter
from secondlook.review.operations.log_operations import LogOperations

ALL = EventFilter()


@pytest.fixture
def log(ledger):
    return LogOperations(ledger)


def written(ledger, count):
    """Write events; return their ids, the newest first."""
    events = [make_event(time=1_790_000_000.0 + number) for number in range(count)]
    keep(ledger, *events)
    return [event.id for event in reversed(events)]


def read(log, **place):
    """Read a page of two: the ids on it, and the cursors of its neighbours."""
    page = asyncio.run(log.page(ALL, limit=2, **place))
    return [event["id"] for event in page.events], page.newer, page.older


def test_pages_lead_to_the_oldest_and_back_without_gap(ledger, log):
    ids = written(ledger, 5)
    first, newer, older = read(log)
    assert (first, newer) == (ids[:2], None)
    second, newer, older = read(log, after=older)
    assert second == ids[2:4]
    last, _, beyond = read(log, after=older)
    assert (last, beyond) == (ids[4:], None)
    assert read(log, before=newer)[0] == first


def test_pages_from_the_oldest_on_hold_the_newest_of_theirs_first(ledger, log):
    ids = written(ledger, 5)
    first, newer, older = read(log, oldest_first=True)
    assert (first, older) == (ids[3:], None)
    assert read(log, oldest_first=True, after=newer)[0] == ids[1:3]


def test_turning_back_from_an_empty_page_loses_no_event(ledger, log):
    ids = written(ledger, 2)
    end = asyncio.run(log.end())
    found, newer, older = read(log, oldest_first=True, after=end)
    assert (found, newer) == ([], None)
    assert read(log, oldest_first=True, before=older)[0] == ids


def test_a_tail_begins_now_and_goes_on_where_it_was(ledger, log):
    written(ledger, 2)
    found, place = asyncio.run(log.tail(ALL, None))
    assert found == []
    (new,) = written(ledger, 1)
    found, place = asyncio.run(log.tail(ALL, place))
    assert [event["id"] for event in found] == [new]
    assert asyncio.run(log.tail(ALL, place))[0] == []


def test_what_is_written_while_the_log_is_followed_comes_in_order(ledger, log):
    async def follow():
        place = await log.end()
        ids = await asyncio.to_thread(written, ledger, 3)
        batches = log.follow(ALL, place)
        events, after = await anext(batches)
        await batches.aclose()
        return list(reversed(ids)), [event["id"] for event in events], after

    expected, followed, after = asyncio.run(follow())
    assert followed == expected
    assert after == asyncio.run(log.end())


def test_one_event_is_found_by_its_id_and_another_is_none(ledger, log):
    (one,) = written(ledger, 1)
    assert asyncio.run(log.find(one))["id"] == one
    assert asyncio.run(log.find("none")) is None
