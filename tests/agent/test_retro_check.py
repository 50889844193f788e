import asyncio
import contextlib
import hashlib

import pytest

from agentkit.house import confirmed_about, make_pattern
from agentkit.looks import retro_check, visit
from agentkit.notices import Sender, notice
from secondlook.agent.actions.notifier import Notifier
from secondlook.agent.check.view import REBLOCK
from secondlook.core.event import EventKind
from secondlook.core.subject import FileSubject, RequestContext, SubjectKind
from secondlook.core.verdict import Action, Risk, SubjectClass

BAD = "http://bad.test/x"


@pytest.fixture
def house(looking):
    return looking


def test_what_was_allowed_and_is_listed_now_is_a_late_verdict(house):
    visit(house, "http://later-bad.test/x")
    visit(house, "http://fine.test/x")
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    assert house.run(house.late.look()) == 1
    event = house.ledger.recorded[-1]
    assert (event.kind, event.url, event.list) == (EventKind.LATE_VERDICT, "http://later-bad.test/x", "mw-8b")
    assert event.extra["clients"] == ["127.0.0.1"]
    assert len(house.told) == 1
    house.reload()
    assert visit(house, "http://later-bad.test/x").action is Action.BLOCK
    assert house.run(house.late.look()) == 0


def test_what_was_seen_is_forgotten_when_its_notice_is_on_the_disk(house, tmp_path, monkeypatch):
    """Else a crash between the two would leave nobody who knows of it."""
    kept, forget = tmp_path / "notices.json", house.ledger.history.forget
    waiting = []

    async def forgotten(entries):
        waiting.append(kept.exists() and "later-bad.test" in kept.read_text())
        await forget(entries)

    monkeypatch.setattr(house.ledger.history, "forget", forgotten)
    visit(house, "http://later-bad.test/x")
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))

    async def scenario():
        house.enforcement._notifier = notifier = Notifier(Sender(), house.clock, kept=kept)
        running = asyncio.create_task(notifier.run())
        notifier.notify(notice())
        await asyncio.sleep(1)
        assert await house.late.look() == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    house.run(scenario())
    assert waiting == [True]


def test_a_finding_about_a_host_reaches_every_page_of_it_that_was_visited(house):
    visit(house, "http://h.test/a")
    visit(house, "http://www.h.test/b")
    entry = confirmed_about(house, "http://h.test/")
    house.ledger.confirmed_set[entry.identity] = entry
    house.reload()
    assert house.run(house.late.look()) == 2


def download(house, name, client="127.0.0.1"):
    """Let a client load a file; gives the decision."""
    digest, url = hashlib.sha256(name.encode()).digest(), f"http://files.test/{client}/{name}"
    context = RequestContext(SubjectClass.DOWNLOAD, client=client, url=url, method="GET")
    return house.run(house.gatekeeper.check(FileSubject((digest,), size=3, filename=name), context))


def listed_by_now(house, *names):
    """A server lists files that were let through."""
    house.sleep(3600)
    house.servers[0].listed |= {hashlib.sha256(name.encode()).digest(): Risk.DANGEROUS for name in names}


def kinds(house, *wanted):
    return [event.kind for event in house.ledger.recorded if event.kind in wanted]


def test_a_file_that_the_next_client_is_refused_is_put_away_where_the_first_has_it(house):
    assert download(house, "late.exe").action is Action.ALLOW
    listed_by_now(house, "late.exe")
    assert download(house, "late.exe", "10.0.0.7").action is Action.BLOCK
    house.sleep(1)
    house.reload()

    async def refused_by_then():
        address = house.subject("http://files.test/127.0.0.1/late.exe").hashes[0]
        assert (address, REBLOCK) in {(each.hit, each.source) for each in house.ledger.snapshots.confirmed()}

    house.files.during = refused_by_then
    assert house.run(house.late.look()) == 1
    (event,) = [each for each in house.ledger.recorded if each.kind is EventKind.LATE_VERDICT]
    assert (event.extra["clients"], event.url) == (["127.0.0.1"], "http://files.test/127.0.0.1/late.exe")
    assert len(house.files.asked) == len(house.told) == 1
    known = house.ledger.confirmed_set[event.identity]
    assert known.url == "http://files.test/10.0.0.7/late.exe", "what is in force stays as it was found"
    assert house.run(house.late.look()) == 0
    assert len(house.files.asked) == len(house.told) == 1


def test_an_address_that_the_next_client_is_refused_is_a_late_verdict_for_the_first(house):
    visit(house, BAD)
    house.sleep(3600)
    house.servers[0].listed[house.subject(BAD).hashes[0]] = Risk.DANGEROUS
    assert visit(house, BAD, "10.0.0.7").action is Action.BLOCK
    house.sleep(1)
    house.reload()
    assert house.run(house.late.look()) == 1
    (event,) = [each for each in house.ledger.recorded if each.kind is EventKind.LATE_VERDICT]
    assert event.extra["clients"] == ["127.0.0.1"]
    assert house.run(house.late.look()) == 0
    assert len(house.told) == 1


def test_an_address_that_is_refused_for_its_bad_file_only_is_no_late_verdict(house):
    url = "http://files.test/10.0.0.7/late.exe"
    visit(house, url)
    listed_by_now(house, "late.exe")
    download(house, "late.exe", "10.0.0.7")
    house.sleep(1)
    house.reload()
    assert visit(house, url).action is Action.BLOCK
    assert house.run(house.late.look()) == 0


@pytest.mark.parametrize("how", ["stopped", "the ledger goes away"])
def test_what_is_interrupted_is_taken_up_again_whole_with_one_event_each(house, how):
    names = ["a.exe", "b.exe", "c.exe"]
    for name in names:
        download(house, name)
    house.ledger.settle()
    listed_by_now(house, *names)
    for name in names:
        download(house, name, "10.0.0.7")
    house.sleep(1)
    house.reload()

    async def interrupted():
        if how == "stopped":
            raise asyncio.CancelledError
        house.ledger.full = True

    house.files.during = interrupted
    with contextlib.suppress(asyncio.CancelledError):
        house.run(house.late.look())
    assert len(house.files.asked) == 1
    assert kinds(house, EventKind.LATE_VERDICT) == [EventKind.LATE_VERDICT] * 3
    house.ledger.full = False
    house.files.during = None
    house.start()
    assert house.run(house.late.look()) == 0, "leased by one that may still be at it"
    house.sleep(121)
    house.run(house.late.look())
    assert set(house.files.asked) == {hashlib.sha256(name.encode()).digest() for name in names}
    assert len(house.told) == 3
    assert kinds(house, EventKind.LATE_VERDICT) == [EventKind.LATE_VERDICT] * 3
    asked = len(house.files.asked)
    house.sleep(121)
    assert house.run(house.late.look()) == 0
    assert len(house.files.asked) == asked


def test_what_was_interrupted_is_taken_up_by_itself(house):
    download(house, "a.exe")
    house.publish(
        make_pattern([hashlib.sha256(b"a.exe").digest()], now=house.clock.now(), kind=SubjectKind.FILE)
    )

    async def stopped():
        raise asyncio.CancelledError

    house.files.during = stopped
    with contextlib.suppress(asyncio.CancelledError):
        house.run(house.late.look())
    house.files.during = None
    house.start()

    async def for_a_while():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(house.late.run(), 300)

    house.run(for_a_while())
    assert len(house.files.asked) == 2
    assert len(house.told) == 1


def test_two_services_do_not_both_deal_with_it(house):
    download(house, "a.exe")
    house.publish(
        make_pattern([hashlib.sha256(b"a.exe").digest()], now=house.clock.now(), kind=SubjectKind.FILE)
    )
    other = retro_check(house)
    theirs = []

    async def other_looks():
        theirs.append(await other.look())

    house.files.during = other_looks
    assert house.run(house.late.look()) == 1
    assert theirs == [0]
    assert len(house.files.asked) == len(house.told) == 1


def test_what_the_second_look_is_dealing_with_is_left_to_it(house):
    house.servers[0].mode = "down"
    assert download(house, "a.exe").action is Action.FLAG
    house.servers[0].mode = "up"
    listed_by_now(house, "a.exe")
    found = []

    async def held_against_the_past():
        house.reload()
        found.append(await house.late.look())

    house.files.during = held_against_the_past
    house.run(house.rechecker.look())
    assert found == [0]
    house.reload()
    assert house.run(house.late.look()) == 0, "its visit has been reported"
    assert kinds(house, EventKind.CONFIRMED, EventKind.LATE_VERDICT) == [EventKind.CONFIRMED]
    assert len(house.files.asked) == len(house.told) == 1
    assert not house.ledger.history.recent


def test_a_client_that_comes_again_after_the_block_has_ended_is_reported_again(house):
    for _ in range(2):
        visit(house, BAD)
        pattern = house.pattern
        house.publish(make_pattern([house.subject(BAD).hashes[0]], now=house.clock.now()))
        assert house.run(house.late.look()) == 1
        assert house.run(house.late.look()) == 0
        house.publish(pattern)
        house.ledger.confirmed_set.clear()
        house.reload()
        house.sleep(3600)
    assert len(house.told) == 2


def test_a_file_that_makes_trouble_is_in_no_others_way(house, caplog):
    names = ["a.exe", "b.exe"]
    for name in names:
        download(house, name)
    listed = [hashlib.sha256(name.encode()).digest() for name in names]
    house.publish(make_pattern(listed, now=house.clock.now(), kind=SubjectKind.FILE))

    async def trouble():
        if len(house.files.asked) == 1:
            raise RuntimeError("planted")

    house.files.during = trouble
    house.run(house.late.look())
    assert sorted(house.files.asked) == sorted(listed)
    assert len(house.told) == 1
    assert list(house.ledger.history.recent) == house.files.asked[:1]


def test_files_that_half_the_lease_does_not_suffice_for_wait(house):
    names = ["a.exe", "b.exe", "c.exe"]
    for name in names:
        download(house, name)
    listed = [hashlib.sha256(name.encode()).digest() for name in names]
    house.publish(make_pattern(listed, now=house.clock.now(), kind=SubjectKind.FILE))

    async def slowly():
        await asyncio.sleep(40)

    house.files.during = slowly
    house.run(house.late.look())
    assert len(house.files.asked) == 2
    house.sleep(121)
    house.run(house.late.look())
    assert sorted(house.files.asked) == sorted(listed)
    assert len(house.told) == 3


def test_what_is_written_down_late_is_not_missed(house):
    """Another worker still lets it through as the pattern changes, and its history is written 5 s later."""
    memory, written = house.ledger.history.recent, {}
    visit(house, "http://later-bad.test/x")
    written.update(memory)
    memory.clear()
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))

    async def work():
        house.late.trigger()
        running = asyncio.ensure_future(house.late.run())
        await asyncio.sleep(5)
        memory.update(written)
        await asyncio.sleep(5)
        running.cancel()

    house.run(work())
    assert house.ledger.recorded[-1].kind is EventKind.LATE_VERDICT


def test_too_long_ago_is_forgotten(house):
    visit(house, "http://later-bad.test/x")
    house.sleep(8 * 86_400)
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    assert house.run(house.late.look()) == 0


def test_a_ledger_that_fails_is_tried_again(house, caplog):
    visit(house, "http://later-bad.test/x")
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    house.ledger.full = True
    assert house.run(house.late.look()) == 0
    house.ledger.full = False
    assert house.run(house.late.look()) == 1


def test_a_long_history_is_not_walked_all_the_time(house):
    walks = []

    async def slowly(*, since, batch=1):
        walks.append(house.clock.monotonic())
        await asyncio.sleep(20)
        house.late.trigger()
        for part in ():
            yield part

    house.ledger.history.remembered = slowly

    async def for_an_hour():
        house.late.trigger()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(house.late.run(), 3600)

    house.run(for_an_hour())
    assert len(walks) == 18, "a tenth of the time"


def test_a_milder_list_does_not_hide_what_is_confirmed_as_worse(house):
    download(house, "late.exe")
    digest = hashlib.sha256(b"late.exe").digest()
    house.publish(
        make_pattern(
            [digest], now=house.clock.now(), kind=SubjectKind.FILE, risk=Risk.SUSPICIOUS, mirrored=False
        )
    )
    listed_by_now(house, "late.exe")
    assert download(house, "late.exe", "10.0.0.7").action is Action.BLOCK
    house.sleep(1)
    house.reload()
    assert house.run(house.late.look()) == 1
    (event,) = [each for each in house.ledger.recorded if each.kind is EventKind.LATE_VERDICT]
    assert event.risk is Risk.DANGEROUS
    assert len(house.files.asked) == len(house.told) == 1
