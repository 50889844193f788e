"""Snapshots: what may block now, and until when an answer holds by itself."""

from dataclasses import replace

import pytest

from agentkit.house import House, confirmed_about, make_pattern, view_with
from secondlook.agent.check.groups import ClientGroup, Policies
from secondlook.agent.check.view import REBLOCK, LocalView, in_force
from secondlook.core.answer import GOOGLE, GOOGLE_FRESH_S, Tier
from secondlook.core.lists.name import Role
from secondlook.core.lists.pattern import Pattern
from secondlook.core.rules.policy import Policy
from secondlook.core.rules.rule import SET_BACK_S, Pause, Rule, Scope
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk

NOW = 2_000_000_000.0
URL = "http://bad.test/"


@pytest.fixture
def house():
    house = House()
    yield house
    house.close()


@pytest.fixture
def entry(house):
    return replace(confirmed_about(house, URL), confirmed_at=NOW)


def rule(**more):
    values = {"id": "r", "client": None, "reason": None, "created": NOW, "expires": None}
    return Rule(action="allow", scope=Scope.DOMAIN, subject="a.test", **(values | more))


@pytest.mark.parametrize(
    ("source", "expires_s", "at_s", "holds"),
    [
        ("fake", 10.0, 1e9, True),  # only a withdrawal ends it
        (REBLOCK, 600.0, 599.9, True),
        (REBLOCK, 600.0, 600.0, False),
        (REBLOCK, None, 1e9, True),
        (REBLOCK, 600.0, -SET_BACK_S, True),
        (REBLOCK, 600.0, -SET_BACK_S - 1, False),
        (GOOGLE, 10.0, GOOGLE_FRESH_S - 0.1, True),
        (GOOGLE, 10.0, GOOGLE_FRESH_S, False),
        (GOOGLE, 3600.0, 3599.0, True),
        (GOOGLE, None, GOOGLE_FRESH_S, False),
    ],
)
def test_what_may_block_now(entry, source, expires_s, at_s, holds):
    made = replace(entry, source=source, expires_at=None if expires_s is None else NOW + expires_s)
    assert in_force(made, NOW + at_s) == holds
    view = view_with(confirmed=[made])
    assert (view.current.known_bad((made.hit,), NOW + at_s) is not None) == holds
    learned = LocalView(Policies(Policy()))
    learned.learn(made)
    assert (learned.current.known_bad((made.hit,), NOW + at_s) is not None) == holds
    assert learned.current.known_bad((b"o" * 32,), NOW + at_s) is None


@pytest.mark.parametrize(("source", "limit"), [(GOOGLE, True), ("fake", False)])
@pytest.mark.parametrize(
    ("age_s", "old"),
    [(GOOGLE_FRESH_S, False), (GOOGLE_FRESH_S + 1, True), (-SET_BACK_S, False), (-SET_BACK_S - 1, True)],
)
def test_only_fresh_lists_of_google_block(source, limit, age_s, old):
    pattern = make_pattern([b"x" * 32], now=NOW - age_s, tier=Tier.NETWORK, source=source, mirrored=False)
    found = view_with(pattern=pattern).current.listed(SubjectKind.URL, (b"x" * 32,), NOW)
    assert (found is None) == (limit and old)


HOST, PATH = b"h" * 32, b"p" * 32


@pytest.mark.parametrize(
    "worse",
    [
        {"source": REBLOCK, "expires_at": NOW + 600},
        {"source": GOOGLE, "expires_at": NOW + 300},
        {"source": "fake", "learned": True},
    ],
    ids=["reblock", "google", "learned"],
)
@pytest.mark.parametrize("hit", [HOST, PATH])
@pytest.mark.parametrize("milder", ["confirmed", "reblock", "learned"])
def test_the_worst_of_all_that_may_block_now_is_found(entry, worse, hit, milder):
    facts = dict(worse)
    learned = facts.pop("learned", False)
    bad = replace(entry, identity=b"b" * 32, hit=hit, risk="dangerous", **facts)
    mild = replace(entry, identity=b"m" * 32, hit=HOST, risk="suspicious", verdict="suspicious")
    if milder == "reblock":
        mild = replace(mild, source=REBLOCK, expires_at=NOW + 600)
    stored = [known for known, here in ((mild, milder == "learned"), (bad, learned)) if not here]
    view = view_with(confirmed=stored)
    for known, here in ((mild, milder == "learned"), (bad, learned)):
        if here:
            view.learn(known)
    assert view.current.known_bad((PATH, HOST), NOW) is bad
    if hit == PATH:
        assert view.current.known_bad((HOST,), NOW) is mild


def test_what_may_not_block_any_more_hides_nothing(entry):
    over = replace(entry, source=REBLOCK, expires_at=NOW - 1)
    google = replace(entry, identity=b"g" * 32, source=GOOGLE, risk="suspicious", expires_at=NOW + 300)
    view = view_with(confirmed=[over, google])
    assert view.current.known_bad((entry.hit,), NOW) is google


def test_an_old_list_of_googles_hides_no_other():
    def listing(age_s, **more):
        return make_pattern([b"x" * 32], now=NOW - age_s, mirrored=False, **more).lists[0]

    old = listing(GOOGLE_FRESH_S + 1, tier=Tier.NETWORK, source=GOOGLE)
    own = listing(0, risk=Risk.SUSPICIOUS)
    view = view_with(pattern=Pattern([old, own]))
    assert view.current.listed(SubjectKind.URL, (b"x" * 32,), NOW).info.source == "embedded"


def boundaries(view):
    return [instant - NOW for instant in view.current.boundaries]


def test_time_alone_changes_answers_at_known_instants(entry):
    reblock = replace(entry, source=REBLOCK, expires_at=NOW + 600)
    old = make_pattern([b"x" * 32], now=NOW - 100, source=GOOGLE, tier=Tier.NETWORK, mirrored=False)
    for view, instants in (
        (view_with(confirmed=[entry]), []),
        (view_with(rulebook=RuleBook((rule(),))), []),
        (view_with(rulebook=RuleBook((rule(expires=NOW + 60),))), [-SET_BACK_S, 60]),
        (
            view_with(pauses=[Pause(id="p", client=None, created=NOW, until=NOW + 5)]),
            [0, 5],
        ),
        (view_with(confirmed=[reblock]), [-SET_BACK_S, 600, GOOGLE_FRESH_S]),
        (view_with(pattern=old), [-100 - SET_BACK_S, GOOGLE_FRESH_S - 100]),
        (view_with(pattern=make_pattern([b"x" * 32], now=NOW)), [0]),
    ):
        assert boundaries(view) == instants
    view.learn(reblock)
    assert 600 in boundaries(view), "a finding of this process too"


def test_the_next_instant_is_the_first_to_come():
    view = view_with(pauses=[Pause(id="p", client=None, created=NOW, until=NOW + 5)])
    assert [view.current.next_boundary(NOW + at) for at in (-1, 0, 4, 5)] == [NOW, NOW + 5, NOW + 5, None]


def test_answers_are_personal_only_where_clients_differ():
    def personal(**parts):
        return view_with(**parts).current.personal

    assert not personal(
        rulebook=RuleBook((rule(),)), pauses=[Pause(id="p", client=None, created=NOW, until=NOW + 5)]
    )
    assert personal(rulebook=RuleBook((rule(client="10.0.0.1"),)))
    assert personal(pauses=[Pause(id="p", client="10.0.0.1", created=NOW, until=NOW + 5)])
    assert personal(policies=Policies(Policy(), [ClientGroup("lab", ("10.0.0.0/8",), (), Policy())]))


def test_known_good_lists_are_looked_at_only_where_there_are_entries():
    def has(hashes, role):
        pattern = make_pattern(hashes, now=NOW, name="gc-32b", role=role, width=32)
        return view_with(pattern=pattern).current.known_good

    assert has([b"x" * 32], Role.KNOWN_GOOD)
    assert not has([], Role.KNOWN_GOOD)
    assert not has([b"x" * 32], Role.BLOCK)


def test_every_change_is_another_snapshot_and_the_rest_stays(entry):
    view = view_with(confirmed=[entry])
    before = view.current
    view.replace(rulebook=RuleBook((rule(),)))
    assert view.current.serial != before.serial
    assert view.current.confirmed is before.confirmed
    assert not before.rulebook.rules, "a check in progress goes on with what it began with"


def read(view, *confirmed):
    view.replace(confirmed=confirmed, read_mark=view.reading())


def known(view, entry):
    return view.current.known_bad((entry.hit,), NOW) is not None


def test_a_finding_of_this_process_stays_until_the_ledger_speaks_of_it(entry):
    view = LocalView(Policies(Policy()))
    view.learn(entry)
    read(view)
    assert known(view, entry), "the ledger did not have it when it was read"
    mark = view.reading()
    view.stored(entry.hit)
    view.replace(confirmed=(), read_mark=mark)
    assert known(view, entry), "it was stored while the ledger was read"
    read(view, entry)
    assert not view.current.learned
    assert known(view, entry)
    read(view)
    assert not known(view, entry), "the ledger knows better: withdrawn"


def test_a_finding_made_again_is_not_stored_by_the_first(entry):
    view = LocalView(Policies(Policy()))
    view.learn(entry)
    view.stored(entry.hit)
    view.learn(entry)
    read(view)
    assert known(view, entry)


def test_what_is_forgotten_blocks_no_more(entry):
    view = LocalView(Policies(Policy()))
    view.learn(entry)
    serial = view.current.serial
    view.forget([b"o" * 32])
    assert (known(view, entry), view.current.serial) == (True, serial)
    view.forget([entry.hit])
    assert not known(view, entry)
    view.stored(entry.hit)
    assert not view._stored
