"""One check's questions: who is asked about what, and what is known when it is cut short."""

import asyncio

import pytest

from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.agent.check.inquiry import Inquiry, Question, fresh_answers, prefixes_of, stale_answers
from secondlook.core.answer import GOOGLE, GOOGLE_FRESH_S, PrefixAnswer, Tier
from secondlook.core.subject import FileSubject, SubjectKind
from secondlook.core.verdict import Risk, SubjectClass

ONE, TWO = b"1111" + bytes(28), b"2222" + bytes(28)
SUBJECT = FileSubject((ONE, TWO), labels=("sha256", "md5"))


class Asking:
    """An inquiry over fake servers."""

    def __init__(self, *servers, mirrored=(), instead=None):
        self.house = House(*servers)
        self.listed = 0
        self.house.lookup.fallback = lambda tier, kind, cls: (instead or {}).get(tier)
        self.question = Question(SUBJECT.hashes)
        self.ends_at = 1.0
        self.inquiry = Inquiry(
            self.house.lookup, self.house.cache, SUBJECT.kind, SubjectClass.DOWNLOAD, (self.question,),
            mirrored=lambda tier: tier in mirrored, now=self.house.clock.now, deadline=lambda: self.ends_at,
            on_listed=self._listed,
        )  # fmt: skip

    def _listed(self):
        self.listed += 1

    def run(self, *tiers, enough=lambda: False):
        self.ends_at = self.house.clock.monotonic() + 1.0
        self.house.run(self.inquiry.run(tiers, enough))
        return self.inquiry

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.house.close()


def known(inquiry):
    return [(tier, len(answer.listed), stale) for tier, answer, stale in inquiry.questions[0].known]


def put(house, full_hash, *, tier=Tier.INTRANET, age_s=0.0, lasts_s=60.0, source="fake"):
    at = house.clock.now() - age_s
    house.cache.put(tier, SubjectKind.FILE, full_hash[:4], PrefixAnswer((), at, at + lasts_s, "fake", source))


def test_four_bytes_of_each_hash_once_and_in_order():
    assert prefixes_of([TWO, ONE, TWO[:8] + bytes(24)]) == [b"2222", b"1111"]


def test_everything_is_asked_once_and_kept():
    with Asking(FakeServer(Tier.INTRANET, {TWO: Risk.DANGEROUS})) as asking:
        inquiry = asking.run(Tier.INTRANET)
        assert known(inquiry) == [(Tier.INTRANET, 0, False), (Tier.INTRANET, 1, False)]
        assert (inquiry.attempts, inquiry.server) == (1, "fake")
        assert (asking.question.failed, asking.question.missing) == ({}, {})
        assert asking.listed == 1
        cached, missing = fresh_answers(
            asking.house.cache, (Tier.INTRANET,), SubjectKind.FILE, SUBJECT.hashes, asking.house.clock.now()
        )
        assert (len(cached), missing) == (2, {})


def test_only_what_the_cache_does_not_know_is_asked():
    with Asking(FakeServer(Tier.INTRANET)) as asking:
        put(asking.house, ONE)
        inquiry = asking.run(Tier.INTRANET)
        assert [prefix for _, prefix in asking.house.servers[0].asked] == [b"2222"]
        assert known(inquiry) == [(Tier.INTRANET, 0, False)] * 2
        assert asking.listed == 0
        put(asking.house, TWO)
        asking.run(Tier.INTRANET)
        assert asking.house.lookup.requests == 1


def test_whom_the_local_lists_speak_for_is_not_asked():
    with Asking(FakeServer(Tier.LOCAL), FakeServer(Tier.INTRANET), mirrored={Tier.LOCAL}) as asking:
        inquiry = asking.run(Tier.LOCAL, Tier.INTRANET)
        assert {tier for tier, _, _ in known(inquiry)} == {Tier.INTRANET}
        assert asking.house.lookup.requests == 1
        assert not asking.question.failed


def test_what_stays_unanswered_is_missing_and_why():
    with Asking(FakeServer(Tier.INTRANET, mode="partial")) as asking:
        inquiry = asking.run(Tier.INTRANET)
        assert asking.question.missing == {Tier.INTRANET: [b"2222"]}
        assert asking.question.failed == {Tier.INTRANET: "some prefixes stayed unanswered"}
        assert known(inquiry) == [(Tier.INTRANET, 0, False)]


@pytest.mark.parametrize(
    ("instead", "failed", "requests"),
    [
        ("up", {}, 2),
        ("down", {Tier.INTRANET: "refused", Tier.NETWORK: "refused"}, 2),
        (None, {Tier.INTRANET: "refused"}, 1),
    ],
)
def test_another_tier_takes_the_place_of_one_that_is_away(instead, failed, requests):
    servers = [FakeServer(Tier.INTRANET, mode="down"), FakeServer(Tier.NETWORK, mode=instead or "up")]
    with Asking(*servers, instead={Tier.INTRANET: Tier.NETWORK} if instead else None) as asking:
        inquiry = asking.run(Tier.INTRANET)
        assert asking.question.failed == failed
        assert asking.house.lookup.requests == requests
        assert inquiry.asked == ({Tier.INTRANET, Tier.NETWORK} if instead else {Tier.INTRANET})


def test_a_tier_is_asked_once_though_it_stands_in_for_another():
    servers = [FakeServer(Tier.INTRANET, mode="down"), FakeServer(Tier.NETWORK)]
    with Asking(*servers, instead={Tier.INTRANET: Tier.NETWORK}) as asking:
        asking.run(Tier.INTRANET, Tier.NETWORK)
        assert asking.house.lookup.requests == 2
        assert set(asking.question.failed) == {Tier.INTRANET}, "its own silence counts"


def test_all_tiers_are_asked_at_once_and_the_first_that_is_enough_ends_it():
    servers = [
        FakeServer(Tier.LOCAL, delay_s=0.6),
        FakeServer(Tier.INTRANET, {ONE: Risk.DANGEROUS}, delay_s=0.1),
    ]
    with Asking(*servers) as asking:
        began = asking.house.clock.monotonic()
        inquiry = asking.run(Tier.LOCAL, Tier.INTRANET, enough=lambda: asking.listed > 0)
        assert asking.house.clock.monotonic() - began == pytest.approx(0.1)
        assert {tier for tier, _, _ in known(inquiry)} == {Tier.INTRANET}
        assert not asyncio.all_tasks(asking.house.loop)
    with Asking(*servers) as asking:
        began = asking.house.clock.monotonic()
        asking.run(Tier.LOCAL, Tier.INTRANET)
        assert asking.house.clock.monotonic() - began == pytest.approx(0.6)


def test_without_a_word_for_enough_tiers_are_asked_one_after_the_other():
    with Asking(FakeServer(Tier.LOCAL, delay_s=0.1), FakeServer(Tier.INTRANET, delay_s=0.1)) as asking:
        asking.run(Tier.LOCAL, Tier.INTRANET, enough=None)
        assert asking.house.clock.monotonic() == pytest.approx(0.2)


def test_what_is_cut_short_keeps_what_it_learnt_and_names_who_was_silent():
    servers = [FakeServer(Tier.LOCAL), FakeServer(Tier.INTRANET, delay_s=5.0)]
    with Asking(*servers) as asking:

        async def main():
            asking.ends_at = 1e9
            await asyncio.wait_for(asking.inquiry.run((Tier.LOCAL, Tier.INTRANET), lambda: False), 1.0)

        with pytest.raises(TimeoutError):
            asking.house.run(main())
        asking.inquiry.cut()
        assert {tier for tier, _, _ in known(asking.inquiry)} == {Tier.LOCAL}
        assert asking.question.failed == {Tier.INTRANET: "no answer within the budget"}
        assert asking.question.missing == {Tier.INTRANET: [b"1111", b"2222"]}


def test_a_fault_of_ours_is_raised_and_leaves_nothing_running():
    with Asking(FakeServer(Tier.LOCAL, delay_s=0.5), FakeServer(Tier.INTRANET)) as asking:
        del asking.house.lookup.servers[Tier.INTRANET]
        with pytest.raises(KeyError):
            asking.run(Tier.LOCAL, Tier.INTRANET)
        asking.house.sleep(0)
        assert not asyncio.all_tasks(asking.house.loop)


# Answers past their expiry


def stale(house, *, stale_for_s=3600.0, prefixes=(b"1111", b"2222")):
    return stale_answers(
        house.cache, Tier.INTRANET, SubjectKind.FILE, prefixes, house.clock.now(), stale_for_s
    )


def test_expired_answers_serve_only_for_every_prefix_and_only_for_a_while():
    house = House()
    put(house, ONE, age_s=100.0)
    assert stale(house) is None
    put(house, TWO, age_s=100.0)
    assert [each[2] for each in stale(house)] == [True, True]
    assert stale(house, stale_for_s=39.0) is None
    house.close()


@pytest.mark.parametrize(("source", "serves"), [(GOOGLE, False), ("fake", True)])
def test_google_has_no_stale_answers_past_its_time(source, serves):
    house = House()
    for full_hash in (ONE, TWO):
        put(house, full_hash, age_s=GOOGLE_FRESH_S, source=source)
    assert stale(house) is not None
    house.sleep(1)
    assert (stale(house) is not None) == serves
    house.close()
