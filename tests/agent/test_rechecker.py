import asyncio
from dataclasses import replace

import pytest

from agentkit.house import confirmed_about, make_pattern
from agentkit.looks import PAGE, URL, kinds, look, visit
from agentkit.servers import FakeServer
from ledgerkit.samples import make_rule
from secondlook.config.query import RecheckSettings
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass


def test_flag_is_committed_before_the_traffic_goes_on(house, server):
    server.mode = "down"
    decision = visit(house)
    assert decision.action is Action.FLAG
    (entry,) = house.ledger.waiting.values()
    assert entry.hashes == house.subject(URL).hashes
    assert house.ledger.recorded[-1].kind is EventKind.FLAGGED
    assert house.ledger.recorded[-1].id == decision.event_id
    visit(house, client="127.0.0.2")
    (entry,) = house.ledger.waiting.values()
    assert (entry.count, entry.clients) == (2, ("127.0.0.1", "127.0.0.2"))


def test_a_flag_that_only_the_journal_takes_is_replayed(house, server):
    server.mode = "down"
    house.ledger.full = True
    assert visit(house).action is Action.FLAG
    assert not house.ledger.queue.rows
    house.ledger.full = False
    house.ledger.settle()
    look(house)
    assert len(house.ledger.queue.rows) == 1


def test_a_flag_that_nothing_takes_refuses_the_request(house, server):
    server.mode = "down"
    house.ledger.full = house.ledger.journal_full = True
    decision = visit(house)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.LEDGER)
    assert decision.event_id


def test_confirmed_blocks_names_the_clients_and_closes_the_entry(house, server):
    server.mode = "down"
    visit(house)
    visit(house, client="10.0.0.9")
    server.mode = "up"
    server.listed[house.subject(URL).hashes[0]] = Risk.DANGEROUS
    report = look(house)
    assert (report.confirmed, report.cleared) == (1, 0)
    assert not house.ledger.queue.rows
    event = house.ledger.recorded[-1]
    assert event.kind is EventKind.CONFIRMED
    assert event.extra["clients"] == ["10.0.0.9", "127.0.0.1"]
    assert [told["client"] for told in event.extra["let_through"]] == ["127.0.0.1", "10.0.0.9"]
    decision = visit(house)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.CONFIRMED)


def test_cleared_ends_the_entry_with_an_event_and_is_cached(house, server):
    server.mode = "down"
    visit(house)
    server.mode = "up"
    assert look(house).cleared == 1
    assert not house.ledger.queue.rows
    assert kinds(house)[-1] is EventKind.CLEARED
    assert visit(house).evidence.stage is Stage.CACHE


def test_silence_clears_nothing_when_no_server_is_left(house, server):
    server.mode = "down"
    visit(house)
    house.lookup.servers.clear()
    house.lookup.moved()
    assert look(house).unverifiable == 1
    (entry,) = house.ledger.waiting.values()
    assert entry.reason == "no server is left to ask about this"


def test_still_unverifiable_is_postponed_further_each_time(house, server):
    server.mode = "down"
    visit(house)
    waits = []
    for _ in range(9):
        now = house.clock.now()
        assert look(house).unverifiable == 1
        (entry,) = house.ledger.waiting.values()
        waits.append(round(entry.next_attempt - now, 2))
        house.sleep(waits[-1])
    assert waits == sorted(waits)
    assert 60 <= waits[0] <= 120
    assert 1800 <= waits[-1] <= 3600
    assert entry.attempts == 9


@pytest.mark.parametrize("back_s", [0.0, 60 * 86_400.0])
def test_nothing_expires_because_a_clock_jumped(house, server, back_s):
    server.mode = "down"
    visit(house)
    house.clock.jump(60 * 86_400.0)
    assert look(house).expired == 0
    house.clock.jump(-back_s)
    assert look(house).expired == 0
    server.mode = "up"
    assert look(house).cleared == 1


def test_a_last_look_is_taken_before_anything_expires(house, server):
    """It was looked at a moment ago and is not due for an hour, when its time is over and a server is back."""
    server.mode = "down"
    for number in range(3):
        visit(house, f"http://let-through.test/{number}")
    house.sleep(30 * 86_400 - 5)
    assert look(house).unverifiable == 3
    house.sleep(6)
    server.mode = "up"
    server.listed[house.subject("http://let-through.test/0").identity] = Risk.DANGEROUS
    report = look(house, everything=False)
    assert (report.confirmed, report.cleared, report.expired) == (1, 2, 0)
    assert not house.ledger.queue.rows


def test_a_clock_set_back_ends_what_would_last_too_long(house, server):
    """The URL of a bad file, refused for ten minutes when the clock was days ahead."""
    entry = confirmed_about(house, URL, source="reblock", expires_at=house.clock.now() + 600)
    house.ledger.confirmed_set[entry.identity] = entry
    house.reload()
    assert visit(house).action is Action.BLOCK
    house.clock.jump(-5 * 86_400.0)
    house.reload()
    assert visit(house).action is Action.ALLOW


def test_what_another_had_leased_when_the_clock_was_set_back_is_looked_at_when_it_is_free(house, server):
    """Whoever had it was killed; and by itself it is due only in an hour and a half."""
    server.mode = "down"
    visit(house)
    (row,) = house.ledger.queue.rows.values()
    lease_s = RecheckSettings().lease
    server.mode = "up"
    row.entry = replace(row.entry, next_attempt=house.clock.now() + 5400.0)
    row.lease_until = house.clock.now() + lease_s

    async def scenario():
        running = asyncio.create_task(house.rechecker.run())
        await asyncio.sleep(20.0)
        house.clock.jump(-110.0)
        await asyncio.sleep(2 * lease_s)
        assert house.ledger.queue.rows
        await asyncio.sleep(15.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    house.run(scenario())
    assert not house.ledger.queue.rows


def test_expired_after_thirty_days_with_an_event(house, server):
    server.mode = "down"
    visit(house)
    house.sleep(30 * 86_400 + 1)
    assert look(house).expired == 1
    assert not house.ledger.queue.rows
    assert kinds(house)[-1] is EventKind.EXPIRED


def test_a_pass_asks_in_full_batches_and_leaves_nothing(house, server):
    server.mode = "down"
    house.lookup.open.add(Tier.INTRANET)
    for number in range(1500):
        visit(house, f"http://h{number}.test/")
    house.lookup.open.clear()
    server.mode = "up"
    house.lookup.requests = 0
    assert look(house).cleared == 1500
    assert house.lookup.biggest <= 1000
    assert house.lookup.requests <= 4
    assert not house.ledger.queue.rows


def test_what_one_server_cannot_answer_does_not_hold_up_the_rest(house, server):
    server.mode = "down"
    for number in range(20):
        visit(house, f"http://h{number}.test/")
    server.mode = "partial"
    report = look(house)
    assert report.cleared + report.unverifiable == 20
    assert report.cleared
    assert report.unverifiable
    assert len(house.ledger.queue.rows) == report.unverifiable
    assert not house.ledger.leased


def test_a_full_ledger_stops_the_pass_and_loses_nothing(house, server):
    server.mode = "down"
    visit(house)
    server.mode = "up"
    house.ledger.full = True
    assert look(house).error
    house.ledger.full = False
    assert look(house).cleared == 1


def test_recovery_triggers_a_pass(house, server):
    server.mode = "down"
    visit(house)

    async def scenario():
        running = asyncio.create_task(house.rechecker.run())
        await asyncio.sleep(1)
        assert house.ledger.queue.rows
        server.mode = "up"
        house.lookup.recovered()
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    house.run(scenario())
    assert not house.ledger.queue.rows


def test_the_schedule_looks_again_without_any_trigger(house, server):
    server.mode = "down"
    visit(house)

    async def scenario():
        running = asyncio.create_task(house.rechecker.run())
        await asyncio.sleep(1)
        server.mode = "up"
        await asyncio.sleep(130)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    house.run(scenario())
    assert not house.ledger.queue.rows


def test_confirmed_is_withdrawn_when_nobody_lists_it_any_more(house, server):
    bad = house.subject(URL).hashes[0]
    server.listed[bad] = Risk.DANGEROUS
    assert visit(house).action is Action.BLOCK
    house.run(asyncio.sleep(0))
    assert bad in house.ledger.confirmed_set
    house.sleep(61)
    assert look(house, everything=False).withdrawn == 0  # still listed: renewed
    assert visit(house).action is Action.BLOCK
    server.mode = "down"
    del server.listed[bad]
    house.sleep(61)
    assert look(house, everything=False).withdrawn == 0  # nobody says so: it stays
    assert visit(house).action is Action.BLOCK
    server.mode = "up"
    house.sleep(61)
    kinds(house)  # what was pending is written first
    assert look(house, everything=False).withdrawn == 1
    assert kinds(house)[-1] is EventKind.WITHDRAWN
    assert visit(house).action is Action.ALLOW


def test_a_new_generation_asks_about_every_confirmed_entry(house, server):
    server.tier = Tier.LOCAL
    house.lookup.servers = {Tier.LOCAL: server}
    house.lookup.moved()
    server.mode = "down"
    visit(house)
    bad = house.subject(URL).hashes[0]
    house.publish(make_pattern([bad], now=house.clock.now()))
    report = look(house, renew_all=True)
    assert (report.confirmed, report.withdrawn) == (1, 0)
    assert house.ledger.recorded[-1].list == "mw-8b"
    house.publish(make_pattern([], now=house.clock.now()))
    assert look(house, renew_all=True).withdrawn == 1
    assert visit(house).action is Action.ALLOW


def test_what_another_place_confirmed_is_not_withdrawn_here(house, server):
    bad = house.subject(URL).hashes[0]
    server.listed[bad] = Risk.DANGEROUS
    visit(house)
    house.run(asyncio.sleep(0))
    server.mode = "gone"
    network = FakeServer(Tier.NETWORK)
    house.lookup.servers[Tier.NETWORK] = network
    house.lookup.moved()
    house.sleep(3600)
    assert look(house, renew_all=True).withdrawn == 0
    house.lookup.servers.pop(Tier.INTRANET)
    house.lookup.moved()
    assert look(house, renew_all=True).withdrawn == 1


def test_a_rule_that_allows_it_by_now_spares_the_notice(house, server):
    server.mode = "down"
    visit(house)
    server.mode = "up"
    server.listed[house.subject(URL).hashes[0]] = Risk.DANGEROUS
    house.ledger.rules.add(make_rule(id="r", subject="let-through.test"))
    house.reload()
    look(house)
    assert house.told == []
    assert kinds(house)[-1] is EventKind.CONFIRMED


def test_a_notice_tells_of_it(house, server):
    server.mode = "down"
    visit(house)
    server.mode = "up"
    server.listed[house.subject(URL).hashes[0]] = Risk.DANGEROUS
    look(house)
    (notice,) = house.told
    assert notice.subject == URL
    assert "127.0.0.1" in notice.text


def test_detail_of_a_local_hit_is_filled_in_afterwards(house, server):
    server.tier = Tier.LOCAL
    house.lookup.servers = {Tier.LOCAL: server}
    house.lookup.moved()
    bad = house.subject(URL).hashes[0]
    server.listed[bad] = Risk.DANGEROUS
    house.publish(make_pattern([bad], now=house.clock.now()))

    async def scenario():
        decision = house.gatekeeper.now(house.subject(URL), PAGE)
        assert house.ledger.recorded[-1].detail == "pending"
        await asyncio.sleep(1)
        return decision

    decision = house.run(scenario())
    assert decision.action is Action.BLOCK
    event = next(event for event in house.ledger.recorded if event.id == decision.event_id)
    assert event.detail == "feeds: fake feed"
    assert event.extra["feeds"] == ["fake feed"]


def test_a_positive_answer_joins_the_confirmed_set_even_while_the_ledger_is_full(house, server):
    bad = house.subject(URL).hashes[0]
    server.listed[bad] = Risk.DANGEROUS
    house.ledger.full = True
    visit(house)
    house.sleep(1)
    house.cache._answers.clear()
    server.mode = "down"
    house.reload()
    assert visit(house).evidence.stage is Stage.CONFIRMED


def test_allowed_subjects_are_remembered_once_in_a_while(house, server):
    visit(house)
    visit(house)
    assert len(house.ledger.history.recent) == 1
    house.ledger.history.recent.clear()
    visit(house)
    assert not house.ledger.history.recent
    house.sleep(301)
    visit(house)
    assert len(house.ledger.history.recent) == 1


def test_a_file_that_was_looked_into_further_is_remembered_at_once(house):
    file, member = b"f" * 32, b"m" * 32
    context = RequestContext(SubjectClass.DOWNLOAD, client="10.0.0.1", url=URL, method="GET")
    for hashes in ((file,), (file, member), (file,)):
        asyncio.run(house.gatekeeper.check(FileSubject(hashes, ("sha256",) * len(hashes), size=5), context))
    assert house.ledger.history.recent[file].hashes == (file, member)
