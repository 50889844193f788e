"""What the second look takes from lists alone: as little as the first may."""

from dataclasses import dataclass

import pytest

from agentkit.house import House, make_pattern
from agentkit.servers import FakeServer
from secondlook.agent.check.evidence import is_listed
from secondlook.agent.recheck.batch_check import BatchCheck, in_pattern
from secondlook.core.answer import GOOGLE, GOOGLE_FRESH_S, ListedHash, PrefixAnswer, Tier
from secondlook.core.subject import RequestContext, SubjectKind
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass, Threat, Verdict

URL = "http://listed.test/x"


@pytest.fixture
def house():
    house = House(FakeServer(Tier.NETWORK, source=GOOGLE))
    yield house
    house.close()


def list_of_google(house, age_s):
    return make_pattern(
        [house.subject(URL).hashes[0]],
        now=house.clock.now() - age_s,
        tier=Tier.NETWORK,
        source=GOOGLE,
        mirrored=False,
    )


@pytest.mark.parametrize(("age_s", "blocks"), [(GOOGLE_FRESH_S, True), (GOOGLE_FRESH_S + 1, False)])
def test_old_entries_of_google_confirm_nothing(house, age_s, blocks):
    house.publish(list_of_google(house, age_s))
    hashes = house.subject(URL).hashes
    found = in_pattern(house.view.current, SubjectKind.URL, hashes, house.clock.now())
    assert (found is not None) == blocks
    if blocks:
        assert found.source == GOOGLE


def test_what_only_an_old_list_of_google_names_is_cleared_by_who_is_asked(house):
    house.servers[0].mode = "down"
    context = RequestContext(SubjectClass.PAGE, client="127.0.0.1", url=URL, method="GET")
    assert house.run(house.gatekeeper.check(house.subject(URL), context)).action is Action.FLAG
    house.publish(list_of_google(house, GOOGLE_FRESH_S + 1))
    house.servers[0].mode = "up"
    [entry] = house.ledger.waiting.values()
    [evidence] = house.run(house.rechecker._batch_check.check([entry]))
    assert not is_listed(evidence)


@dataclass(frozen=True)
class Entry:
    """Something to look at again."""

    hashes: tuple[bytes, ...]
    kind: SubjectKind = SubjectKind.URL
    cls: SubjectClass = SubjectClass.PAGE


def number(n):
    """A full hash whose prefix is that number."""
    return n.to_bytes(4) + bytes(28)


def make_house(*servers, batch=1000):
    house = House(*servers)
    house.batch_check = BatchCheck(house.view, house.lookup, house.cache, house.clock, batch=batch)
    return house


@pytest.fixture
def intranet():
    house = make_house(FakeServer(Tier.INTRANET))
    yield house
    house.close()


def judge(house, *entries):
    return house.run(house.batch_check.check(entries))


def test_each_entry_gets_its_own_answer_in_order(intranet):
    intranet.servers[0].listed[number(2)] = Risk.SUSPICIOUS
    intranet.publish(make_pattern([number(3)], now=intranet.clock.now(), mirrored=False))
    entries = [
        Entry((number(1),)),
        Entry((number(2), number(9))),
        Entry((number(3),)),
        Entry((number(2),), SubjectKind.FILE, SubjectClass.DOWNLOAD),
        Entry((number(8), number(2))),
    ]
    found = judge(intranet, *entries)
    assert [(each.verdict, each.stage) for each in found] == [
        (Verdict.UNKNOWN, Stage.QUERY),
        (Verdict.SUSPICIOUS, Stage.QUERY),
        (Verdict.MALICIOUS, Stage.PATTERN),
        (Verdict.SUSPICIOUS, Stage.QUERY),
        (Verdict.SUSPICIOUS, Stage.QUERY),
    ]
    assert [each.hit for each in found] == [None, number(2), number(3), number(2), number(2)]
    assert [is_listed(each) for each in found] == [False, True, True, True, True]


def test_requests_are_full_and_no_larger_than_they_may_be():
    house = make_house(FakeServer(Tier.INTRANET), batch=10)
    assert len(judge(house, *(Entry((number(n), number(1000 + n))) for n in range(25)))) == 25
    assert (house.lookup.requests, house.lookup.biggest) == (5, 10)
    house.close()
    house = make_house(
        FakeServer(Tier.INTRANET), batch=5000
    )  # what a person writes does not change the protocol
    judge(house, *(Entry((number(n),)) for n in range(1001)))
    assert (house.lookup.requests, house.lookup.biggest) == (2, 1000)
    house.close()


def test_what_was_answered_is_not_asked_again_and_each_prefix_once(intranet):
    judge(intranet, Entry((number(1), number(2))), Entry((number(2),)))
    judge(intranet, Entry((number(2), number(3))))
    assert [prefix for _, prefix in intranet.servers[0].asked] == [number(n)[:4] for n in (1, 2, 3)]


def test_silence_clears_nothing_and_an_expired_answer_neither(intranet):
    judge(intranet, Entry((number(1),)))
    intranet.servers[0].mode = "down"
    intranet.sleep(61)
    [evidence] = judge(intranet, Entry((number(1),)))
    assert evidence.unverifiable == "intranet: refused"


def test_half_an_answer_clears_only_what_it_answers(intranet):
    intranet.servers[0].mode = "partial"
    first, second, both = judge(
        intranet, Entry((number(1),)), Entry((number(2),)), Entry((number(1), number(2)))
    )
    assert first.unverifiable is None
    assert second.unverifiable == both.unverifiable == "intranet: some prefixes stayed unanswered"


def test_a_find_counts_although_another_prefix_stayed_unanswered(intranet):
    intranet.servers[0].listed[number(1)] = Risk.DANGEROUS
    intranet.servers[0].mode = "partial"
    [evidence] = judge(intranet, Entry((number(1), number(2))))
    assert is_listed(evidence)


def test_every_tier_has_to_answer():
    house = make_house(FakeServer(Tier.LOCAL), FakeServer(Tier.INTRANET))
    house.servers[1].mode = "down"
    [evidence] = judge(house, Entry((number(1),)))
    assert evidence.unverifiable == "intranet: refused"
    house.close()


def test_what_the_local_lists_stand_for_is_not_asked():
    house = make_house(FakeServer(Tier.LOCAL))
    house.publish(make_pattern([number(5)], now=house.clock.now()))
    [evidence] = judge(house, Entry((number(1),)))
    assert (evidence.verdict, evidence.stage, evidence.unverifiable) == (Verdict.UNKNOWN, Stage.PATTERN, None)
    assert house.lookup.requests == 0
    house.close()


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("gone", "no server can be reached from here"), (None, "no server is left to ask about this")],
)
def test_where_nobody_can_be_asked_nothing_is_cleared(mode, reason):
    house = make_house(*([FakeServer(Tier.INTRANET, mode=mode)] if mode else []))
    [evidence] = judge(house, Entry((number(1),)))
    assert evidence.unverifiable == reason
    house.close()


@pytest.mark.parametrize(
    ("network", "second", "verdict", "reason"),
    [
        ("up", True, Verdict.UNKNOWN, None),
        ("listed", True, Verdict.MALICIOUS, None),
        ("down", True, Verdict.UNKNOWN, "network: refused"),
        ("up", False, Verdict.UNKNOWN, "intranet: refused"),
    ],
)
def test_another_tier_answers_in_the_place_of_one_that_is_away(monkeypatch, network, second, verdict, reason):
    house = make_house(FakeServer(Tier.INTRANET, mode="down"), FakeServer(Tier.NETWORK))
    if network == "listed":
        house.servers[1].listed[number(1)] = Risk.DANGEROUS
    house.servers[1].mode = "down" if network == "down" else "up"
    monkeypatch.setattr(house.lookup, "tiers", lambda kind, cls: (Tier.INTRANET,))
    instead = {Tier.INTRANET: Tier.NETWORK} if second else {}
    monkeypatch.setattr(house.lookup, "fallback", lambda tier, kind, cls: instead.get(tier))
    [evidence] = judge(house, Entry((number(1),)))
    assert (evidence.verdict, evidence.unverifiable) == (verdict, reason)
    house.close()


def test_a_tier_that_was_asked_already_takes_nobodys_place(monkeypatch):
    house = make_house(FakeServer(Tier.INTRANET, mode="down"), FakeServer(Tier.NETWORK))
    monkeypatch.setattr(house.lookup, "fallback", lambda tier, kind, cls: Tier.NETWORK)
    [evidence] = judge(house, Entry((number(1),)))
    assert evidence.unverifiable == "intranet: refused"
    assert house.lookup.requests == 2
    house.close()


def test_a_frames_only_find_counts_for_pages_alone(intranet):
    answer = PrefixAnswer(
        (ListedHash(number(1), Threat.MALWARE, Risk.DANGEROUS, frames_only=True),),
        intranet.clock.now(), intranet.clock.now() + 60, "fake", "fake",
    )  # fmt: skip
    intranet.cache.put(Tier.INTRANET, SubjectKind.URL, number(1)[:4], answer)
    page, image = judge(intranet, Entry((number(1),)), Entry((number(1),), cls=SubjectClass.SUBRESOURCE))
    assert (is_listed(page), is_listed(image)) == (True, False)


@pytest.mark.parametrize(
    ("mode", "worst", "risk", "reason"),
    [
        ("up", Risk.DANGEROUS, Risk.DANGEROUS, None),
        ("up", None, Risk.SUSPICIOUS, None),
        ("down", None, Risk.UNTESTED, "intranet: refused"),
    ],
)
@pytest.mark.parametrize("by", ["list", "server"])
def test_what_is_listed_too_mildly_to_be_blocked_is_asked_about_all_the_same(mode, worst, risk, reason, by):
    house = make_house(FakeServer(Tier.LOCAL), FakeServer(Tier.INTRANET, mode=mode))
    local, intranet = house.servers
    if by == "list":
        house.publish(make_pattern([number(7)], now=house.clock.now(), risk=Risk.SUSPICIOUS, mirrored=False))
    else:
        local.listed[number(7)] = Risk.SUSPICIOUS
    if worst is not None:
        intranet.listed[number(1)] = worst
    [evidence] = judge(house, Entry((number(1), number(7))))
    assert (evidence.risk, evidence.unverifiable) == (risk, reason)
    house.close()


def test_lists_that_come_while_servers_are_asked_stand_for_none_of_them(monkeypatch):
    house = make_house(FakeServer(Tier.LOCAL), FakeServer(Tier.INTRANET))
    ask = house.lookup.ask
    house.servers[1].listed[number(1)] = Risk.DANGEROUS

    async def meanwhile(tier, *question, deadline):
        house.publish(make_pattern([number(1)], now=house.clock.now(), tier=Tier.INTRANET))
        return await ask(tier, *question, deadline=deadline)

    monkeypatch.setattr(house.lookup, "ask", meanwhile)
    [evidence] = judge(house, Entry((number(1),)))
    assert is_listed(evidence)
    house.close()
