"""A block ends when nobody lists its cause any more, and not before somebody has said so."""

from dataclasses import replace

import pytest

from agentkit.house import House, confirmed_about, make_pattern
from agentkit.servers import FakeServer
from secondlook.agent.check.view import REBLOCK
from secondlook.agent.recheck.renewal import PATTERN_RENEWAL_S, Renewal, expiry_of
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Evidence, Risk, Stage, SubjectClass, Verdict

URL = "http://bad.test/x"


def put(house, url=URL, **more):
    entry = confirmed_about(house, url, **({"tier": "intranet", "expires_at": house.clock.now() + 60} | more))
    house.ledger.confirmed_set[entry.identity] = entry
    return entry


def renew(house, **options):
    return house.run(house.renewal.renew(**({"everything": False} | options)))


def in_set(house):
    return {entry.hit for entry in house.ledger.snapshots.confirmed()}


def test_nothing_is_asked_before_its_time_unless_all_are(house):
    put(house)
    assert renew(house) == 0
    assert house.lookup.requests == 0
    assert renew(house, everything=True) == 1


def test_what_is_not_listed_any_more_is_withdrawn_with_an_event_and_blocks_here_no_more(house):
    entry = put(house)
    house.view.learn(entry)
    house.sleep(61)
    assert renew(house) == 1
    assert not in_set(house)
    assert house.view.current.known_bad((entry.hit,), house.clock.now()) is None
    [event] = house.ledger.recorded
    assert (event.kind, event.detail) == (EventKind.WITHDRAWN, "no longer listed")
    assert event.extra == {"list": "mw-8b", "server": "fake"}


@pytest.mark.parametrize("by", ["server", "list"])
def test_what_is_still_listed_stays_until_it_is_asked_again(house, by):
    entry = put(house)
    if by == "server":
        house.servers[0].listed[entry.hit] = Risk.DANGEROUS
    else:
        house.publish(make_pattern([entry.hit], now=house.clock.now(), mirrored=False))
    house.sleep(61)
    assert renew(house) == 0
    [renewed] = house.ledger.snapshots.confirmed()
    lasts_s = 60.0 if by == "server" else PATTERN_RENEWAL_S
    assert lasts_s - 31 < renewed.expires_at - house.clock.now() <= lasts_s
    assert not house.ledger.recorded


def test_many_renewals_are_few_statements(house, monkeypatch):
    for number in range(50):
        entry = put(house, f"http://bad{number}.test/")
        house.servers[0].listed[entry.hit] = Risk.DANGEROUS
    statements = []
    extend = house.ledger.confirmed.extend

    async def counted(identities, expires_at):
        statements.append(len(identities))
        await extend(identities, expires_at)

    monkeypatch.setattr(house.ledger.confirmed, "extend", counted)
    house.sleep(61)
    renew(house)
    assert statements == [50]


@pytest.mark.parametrize(("risk", "name"), [(Risk.SUSPICIOUS, "mw-8b"), (Risk.DANGEROUS, "other")])
def test_what_is_listed_otherwise_by_now_is_written_anew(house, risk, name):
    entry = put(house, list=name)
    house.servers[0].listed[entry.hit] = risk
    house.sleep(61)
    renew(house)
    [renewed] = house.ledger.snapshots.confirmed()
    assert (renewed.risk, renewed.list, renewed.verdict) == (
        risk, "mw-8b", Verdict.SUSPICIOUS if risk is Risk.SUSPICIOUS else Verdict.MALICIOUS
    )  # fmt: skip
    assert renewed.expires_at > house.clock.now()


def test_silence_keeps_a_block_and_is_not_asked_into_all_the_time(house):
    put(house)
    house.servers[0].mode = "down"
    house.sleep(61)
    assert renew(house) == 0
    assert in_set(house)
    asked = house.lookup.requests
    renew(house)
    assert house.lookup.requests == asked
    renew(house, forced=True)
    assert house.lookup.requests == asked + 1
    house.servers[0].mode = "up"
    house.sleep(61)
    assert renew(house) == 1


def test_what_left_the_lists_while_servers_were_silent_is_asked_about_once_they_answer(house):
    put(house, tier="local", expires_at=house.clock.now() + PATTERN_RENEWAL_S)
    house.servers[0].mode = "down"
    assert renew(house, everything=True) == 0
    house.sleep(61)
    assert renew(house) == 0
    house.servers[0].mode = "up"
    assert renew(house, forced=True) == 1
    put(house)
    assert renew(house, forced=True) == 0, "all were answered about: the next is asked at its time"


@pytest.mark.parametrize(("tier", "kept"), [("intranet", True), ("local", False), (None, False)])
def test_who_listed_it_and_cannot_be_asked_from_here_may_speak_later(tier, kept):
    house = House(FakeServer(Tier.LOCAL), FakeServer(Tier.INTRANET, mode="gone"))
    put(house, tier=tier)
    house.sleep(61)
    assert renew(house) == (not kept)
    assert bool(in_set(house)) == kept
    house.close()


def test_a_refusal_that_follows_a_file_ends_by_its_time_and_asks_nobody(house):
    entry = put(house, source=REBLOCK, tier=None)
    assert renew(house, everything=True) == 0
    assert in_set(house) == {entry.hit}
    house.sleep(61)
    renew(house)
    assert not in_set(house)
    assert house.lookup.requests == 0
    assert "the file stays listed" in house.ledger.recorded[0].detail


def test_a_find_about_a_host_is_asked_about_by_the_hash_that_is_listed(house):
    page = put(house)
    host = house.subject("http://bad.test/").hashes[0]
    house.ledger.confirmed_set[page.identity] = replace(page, hit=host)
    house.servers[0].listed[host] = Risk.DANGEROUS
    house.sleep(61)
    assert renew(house) == 0
    assert [prefix for _, prefix in house.servers[0].asked] == [host[:4]]


@pytest.mark.parametrize(
    ("kind", "cls", "asked_as"),
    [
        (SubjectKind.FILE, None, SubjectClass.DOWNLOAD),
        (SubjectKind.URL, None, SubjectClass.PAGE),
        (SubjectKind.URL, SubjectClass.SUBRESOURCE, SubjectClass.SUBRESOURCE),
    ],
)
def test_it_is_asked_about_as_what_it_was_used_for(house, monkeypatch, kind, cls, asked_as):
    asked = []

    def tiers(kind, cls):
        asked.append((kind, cls))
        return (Tier.INTRANET,)

    monkeypatch.setattr(house.lookup, "tiers", tiers)
    put(house, kind=kind, cls=cls)
    house.sleep(61)
    renew(house)
    assert set(asked) == {(kind, asked_as)}


def test_evidence_holds_until_its_answer_expires_or_for_a_day():
    evidence = Evidence(verdict=Verdict.MALICIOUS, risk=Risk.DANGEROUS, stage=Stage.QUERY, expires_at=7.0)
    assert expiry_of(evidence, 5.0) == 7.0
    assert expiry_of(replace(evidence, expires_at=None), 5.0) == 5.0 + PATTERN_RENEWAL_S


@pytest.mark.parametrize(("mode", "listed"), [("up", True), ("down", True), ("down", False)])
def test_a_milder_list_takes_nothing_from_what_a_server_knows_to_be_worse(house, mode, listed):
    entry = put(house)
    house.publish(make_pattern([entry.hit], now=house.clock.now(), risk=Risk.SUSPICIOUS, mirrored=False))
    if listed:
        house.servers[0].listed[entry.hit] = Risk.DANGEROUS
    house.servers[0].mode = mode
    house.sleep(61)
    assert renew(house) == 0
    [kept] = house.ledger.snapshots.confirmed()
    assert kept.risk == "dangerous"


@pytest.mark.parametrize(("still", "risk"), [(True, "dangerous"), (None, "dangerous"), (False, "suspicious")])
def test_a_milder_list_takes_nothing_from_what_an_engine_found(house, still, risk):
    async def still_found(_):
        return still

    entry = put(house, kind=SubjectKind.FILE, source="clamd", tier=None, list="clamd")
    house.servers[0].listed[entry.hit] = Risk.SUSPICIOUS
    house.sleep(61)
    renewal = Renewal(house.batch_check, house.ledger.confirmed, house.clock, still_found=still_found)
    assert house.run(renewal.renew(everything=False)) == 0
    [kept] = house.ledger.snapshots.confirmed()
    assert (kept.risk, kept.source) == (risk, "clamd" if risk == "dangerous" else "fake")
