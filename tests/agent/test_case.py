"""A check's conclusion: nobody lists it, nobody as worse, or it cannot be read."""

from dataclasses import replace

import pytest

from secondlook.agent.check.case import Case
from secondlook.agent.check.evidence import ListedFinding, unknown
from secondlook.agent.check.groups import ClientGroup, Policies
from secondlook.agent.check.view import LocalView
from secondlook.core.answer import ListedHash, PrefixAnswer, Tier
from secondlook.core.rules.policy import Level, Policy
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.url.canonical import url_subject
from secondlook.core.verdict import Evidence, Risk, Stage, Step, SubjectClass, Threat, Verdict
from secondlook.suffix import load_suffixes

NOW = 2_000_000_000.0
ONE = b"1" * 32
MILD = Evidence(verdict=Verdict.SUSPICIOUS, risk=Risk.SUSPICIOUS, stage=Stage.PATTERN)
PAGE = RequestContext(SubjectClass.PAGE, client="10.0.0.7", url="http://a.test/", method="GET")
STEPS = [Step(Stage.RULES, "miss"), Step(Stage.PATTERN, "not_listed")]


def case(subject=FileSubject((ONE,)), **context):  # noqa: B008 - frozen
    strict = ClientGroup("strict", ("10.0.9.0/24",), (), Policy(level=Level.HIGH))
    snapshot = LocalView(Policies(Policy(), [strict])).current
    return Case(snapshot, subject, replace(PAGE, **context), NOW, 0.0, list(STEPS))


def test_what_a_clients_policy_lets_through_is_open():
    assert case().is_open(MILD)
    assert not case(client="10.0.9.1").is_open(MILD)
    assert not case().is_open(replace(MILD, verdict=Verdict.MALICIOUS, risk=Risk.DANGEROUS))
    assert not case().is_open(unknown(Stage.QUERY, ()))


def test_a_finding_is_of_the_subject_and_comes_after_what_was_looked_at():
    listed = ListedHash(ONE, Threat.MALWARE, Risk.DANGEROUS, "mw-8b")
    answer = PrefixAnswer((listed,), NOW - 10, NOW + 50, "office", "office")
    evidence = case().from_finding(ListedFinding(listed, answer, Tier.INTRANET, False), Stage.QUERY, 3)
    assert (evidence.hit, evidence.verdict, evidence.attempts) == (ONE, Verdict.MALICIOUS, 3)
    assert evidence.steps[: len(STEPS)] == tuple(STEPS)


def test_nothing_lists_it():
    evidence = case().nothing_worse(Stage.CACHE, None, server="office", stale=True, attempts=2)
    assert evidence == unknown(Stage.CACHE, STEPS, server="office", stale=True, attempts=2)


def test_nothing_lists_it_as_worse():
    evidence = case().nothing_worse(Stage.QUERY, MILD, attempts=2)
    assert evidence == replace(MILD, steps=tuple(STEPS), attempts=2)


@pytest.mark.parametrize("known", [None, MILD])
def test_what_cannot_be_read_is_unverifiable_whatever_is_known(known):
    unread = url_subject("http://a.test:99999/", load_suffixes())
    assert unread.problem is not None
    evidence = case(unread).nothing_worse(Stage.QUERY, known, attempts=1)
    assert (evidence.stage, evidence.unverifiable) == (Stage.MALFORMED, unread.problem)
    assert (evidence.steps[: len(STEPS)], evidence.attempts) == (tuple(STEPS), 1)
