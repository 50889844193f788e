from dataclasses import dataclass, replace

from agentkit.house import make_pattern
from ledgerkit.contract import confirm
from ledgerkit.samples import make_rule
from secondlook.agent.check.view import REBLOCK
from secondlook.agent.check.watch import Watcher
from secondlook.core.answer import Tier
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.pattern import Mirror, Pattern
from secondlook.core.subject import RequestContext, SubjectKind
from secondlook.core.verdict import Action, SubjectClass

PAGE = RequestContext(SubjectClass.PAGE, client="127.0.0.1")


@dataclass
class Published:
    """What lies in the pattern folder."""

    stamp: int
    pattern: Pattern


def watcher_of(house, place=None, **options):
    """Make a watcher of a house, and of a pattern folder where there is one."""
    if place is not None:
        options |= {"stamp": lambda: place.stamp, "load": lambda: place.pattern}
    return Watcher(house.checker, house.ledger.snapshots, house.clock, **options)


def rule(subject):
    return make_rule(id="r", action="block", subject=subject)


def test_rules_and_pattern_are_taken_up(house):
    place = Published(1, make_pattern([], now=house.clock.now()))
    seen = []

    watcher = watcher_of(house, place, on_pattern=seen.append, fixed_rules=[rule("fixed.test")])
    house.run(watcher.refresh())
    assert house.checker.check_now(house.subject("http://fixed.test/"), PAGE).action is Action.BLOCK
    house.ledger.rules.add(rule("new.test"))
    house.ledger.changed()
    place.stamp = 2
    place.pattern = make_pattern([house.subject("http://bad.test/").hashes[0]], now=house.clock.now())
    house.run(watcher.refresh())
    for host in ("fixed.test", "new.test", "bad.test"):
        assert house.checker.check_now(house.subject(f"http://{host}/"), PAGE).action is Action.BLOCK
    assert len(seen) == 2


def test_what_cannot_be_read_stays_and_is_tried_again(house, caplog):
    house.ledger.rules.add(rule("old.test"))
    watcher = watcher_of(house)
    house.run(watcher.refresh())
    house.ledger.changed()
    broken, house.ledger.snapshots.rules = house.ledger.snapshots.rules, lambda: 1 / 0
    house.run(watcher.refresh())
    house.run(watcher.refresh())
    assert house.checker.check_now(house.subject("http://old.test/"), PAGE).action is Action.BLOCK
    assert caplog.text.count("could not be refreshed") == 1
    house.ledger.snapshots.rules = broken
    house.ledger.rules.add(rule("new.test"))
    house.run(watcher.refresh())
    assert house.checker.check_now(house.subject("http://new.test/"), PAGE).action is Action.BLOCK


def test_lists_are_taken_up_while_the_ledger_cannot_be_read(house):
    place = Published(1, make_pattern([], now=house.clock.now()))
    watcher = watcher_of(house, place)
    house.ledger.snapshots.version = lambda: 1 / 0
    listed = house.subject("http://bad.test/")
    place.stamp, place.pattern = 2, make_pattern([listed.hashes[0]], now=house.clock.now())
    house.run(watcher.refresh())
    assert house.checker.check_now(listed, PAGE).action is Action.BLOCK


def test_lists_are_taken_up_while_the_ledger_does_not_answer(house):
    """As with a database whose machine stands still: whoever asks it waits for good."""
    import asyncio
    import threading

    place = Published(1, make_pattern([], now=house.clock.now()))
    answers = threading.Event()
    house.ledger.snapshots.version = lambda: answers.wait(60.0) and 7
    watcher = Watcher(
        house.checker,
        house.ledger.snapshots,
        house.clock,
        stamp=lambda: place.stamp,
        load=lambda: place.pattern,
        poll_s=0.01,
    )
    listed = house.subject("http://bad.test/")

    async def scenario():
        watching = asyncio.create_task(watcher.run())
        place.stamp, place.pattern = 2, make_pattern([listed.hashes[0]], now=house.clock.now())
        try:
            async with asyncio.timeout(60.0):
                while house.checker.check_now(listed, PAGE) is None:
                    await asyncio.sleep(0.01)
        finally:
            answers.set()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(scenario())  # a real loop, with real threads
    assert house.checker.check_now(listed, PAGE).action is Action.BLOCK


def test_a_finding_stored_while_the_ledger_is_read_is_not_lost(house):
    from agentkit.house import confirmed_about

    entry = confirmed_about(house, "http://bad.test/")
    house.view.learn(entry)
    mark = house.view.reading()
    read_before_commit = house.ledger.snapshots.confirmed()
    house.view.stored(entry.hit)
    house.view.replace(confirmed=read_before_commit, read_mark=mark)
    assert house.checker.check_now(house.subject("http://bad.test/"), PAGE).action is Action.BLOCK
    house.view.replace(confirmed=[], read_mark=house.view.reading())  # withdrawn meanwhile
    assert house.checker.check_now(house.subject("http://bad.test/"), PAGE) is None


def test_reading_never_blocks_the_loop(house):
    """The operator's data is read in a thread: another task gets its turn while a read hangs."""
    import asyncio
    import threading

    gate = threading.Event()
    house.ledger.snapshots.version = lambda: gate.wait(60) and 7
    watcher = watcher_of(house)

    async def scenario():
        refreshing = asyncio.create_task(watcher.refresh())
        await asyncio.sleep(0.01)
        assert not refreshing.done()
        gate.set()
        await refreshing

    asyncio.run(scenario())


def test_a_new_finding_is_told_and_a_renewed_one_is_not(house):
    told = []
    watcher = watcher_of(house, on_confirmed=lambda: told.append(1))
    house.run(watcher.refresh())
    assert told == []
    entry = make_confirmed(house.subject("http://late.test/").identity, house.clock.now())
    house.run(confirm(house.ledger, entry, None))
    house.run(watcher.refresh())
    assert told == [1]
    house.run(confirm(house.ledger, replace(entry, expires_at=house.clock.now() + 900), None))
    house.run(watcher.refresh())
    assert told == [1]
    house.run(confirm(house.ledger, make_confirmed(b"o" * 32, house.clock.now()), None))
    house.run(watcher.refresh())
    assert told == [1, 1]
    address = make_confirmed(b"r" * 32, house.clock.now())
    house.run(confirm(house.ledger, replace(address, source=REBLOCK), None))
    house.run(watcher.refresh())
    assert told == [1, 1], "its file is the news"
    house.run(confirm(house.ledger, replace(address, identity=b"s" * 32), None))
    house.run(watcher.refresh())
    assert told == [1, 1, 1]


def make_confirmed(identity, now):
    return ConfirmedEntry(
        identity=identity, hit=identity, kind=SubjectKind.URL, verdict="malicious", risk="dangerous", threat="malware", list="mw-8b",
        server="s", source="s", confirmed_at=now, expires_at=now + 300,
    )  # fmt: skip


def test_a_pattern_that_is_only_confirmed_anew_is_no_news(house):
    """Twice a minute a server says that nothing has changed: nothing is looked at again for that."""
    bad = make_pattern([house.subject("http://bad.test/").hashes[0]], now=house.clock.now())
    place = Published(1, bad)
    seen = []
    watcher = watcher_of(house, place, on_pattern=seen.append)

    def confirmed_at(at, fresh_for_s=60.0):
        place.stamp += 1
        place.pattern = Pattern(
            [(replace(info, confirmed_at=at), table) for info, table in bad.lists],
            [Mirror(server="s", tier=Tier.INTRANET, whole=True, confirmed_at=at, fresh_for_s=fresh_for_s)],
            bad.generation,
        )
        house.run(watcher.refresh())

    confirmed_at(house.clock.now())
    assert len(seen) == 1
    house.sleep(30)
    confirmed_at(house.clock.now())
    assert len(seen) == 1
    assert house.view.current.pattern is place.pattern
    house.sleep(90)  # now it was too old to stand in for its server, and then it does again
    confirmed_at(house.clock.now())
    assert len(seen) == 2
    bad = make_pattern([house.subject("http://worse.test/").hashes[0]], now=house.clock.now())
    confirmed_at(house.clock.now())
    assert len(seen) == 3
