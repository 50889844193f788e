import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.checks import FILE, PAGE, check, listed, rule
from agentkit.house import House, make_pattern
from agentkit.servers import FakeServer
from secondlook.agent.check.groups import Policies
from secondlook.core.answer import Tier
from secondlook.core.digest import sha256
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.name import Role
from secondlook.core.rules.policy import Mode, Policy
from secondlook.core.rules.rule import Scope
from secondlook.core.subject import FileSubject, SubjectKind
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass, Verdict


def test_unknown_subject_is_asked_about_once_and_then_cached(house, server):
    assert house.checker.check_now(house.subject("http://ok.test/"), PAGE) is None
    first = check(house, "http://ok.test/")
    assert (first.action, first.evidence.stage, first.evidence.verdict) == (
        Action.ALLOW,
        Stage.QUERY,
        Verdict.UNKNOWN,
    )
    assert first.evidence.risk is Risk.UNTESTED
    requests = house.lookup.requests
    again = house.checker.check_now(house.subject("http://ok.test/"), PAGE)
    assert again is not None
    assert again.evidence.stage is Stage.CACHE
    assert house.lookup.requests == requests


def test_listed_subject_is_blocked_and_explained(house, server):
    server.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    decision = check(house)
    assert decision.action is Action.BLOCK
    evidence = decision.evidence
    assert (evidence.stage, evidence.list, evidence.server) == (Stage.QUERY, "mw-8b", "fake")
    assert evidence.expression == "bad.test/x"
    assert [step.stage for step in evidence.steps][:4] == [
        Stage.RULES,
        Stage.CONFIRMED,
        Stage.PATTERN,
        Stage.KNOWN_GOOD,
    ]
    assert evidence.attempts == 1


def test_only_four_byte_prefixes_leave(house, server):
    check(house)
    assert all(len(prefix) == 4 for _, prefix in server.asked)


@pytest.mark.parametrize("mode", ["down", "hang", "bad_protobuf", "no_duration", "status_500", "partial"])
def test_unanswered_is_flagged_within_the_budget(house, server, mode):
    server.mode = mode
    started = house.clock.monotonic()
    decision = check(house)
    assert house.clock.monotonic() - started <= 1.5
    assert (decision.action, decision.evidence.stage) == (Action.FLAG, Stage.UNVERIFIABLE)
    assert decision.evidence.unverifiable


def test_a_foreign_prefix_in_an_answer_is_not_kept(house, server):
    server.mode = "foreign"
    check(house)
    assert house.cache.get(Tier.INTRANET, SubjectKind.URL, b"\xff\xff\xff\xff", house.clock.now()) is None


def test_expired_answer_serves_while_nobody_answers(house, server):
    check(house)
    server.mode = "down"
    house.sleep(61)
    decision = check(house)
    assert (decision.action, decision.evidence.stale) == (Action.ALLOW, True)
    house.sleep(3600)
    assert check(house).action is Action.FLAG


def test_stale_google_answer_may_not_block(house, server):
    server.source = "google"
    server.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    assert check(house).action is Action.BLOCK
    server.mode = "down"
    house.sleep(1900)
    assert check(house).action is Action.FLAG


def test_no_server_at_all_means_unknown_and_not_flagged():
    house = House()
    decision = house.checker.check_now(house.subject("http://x.test/"), PAGE)
    assert (decision.action, decision.evidence.verdict) == (Action.ALLOW, Verdict.UNKNOWN)
    house.close()


def test_no_server_here_but_one_elsewhere_is_unverifiable(house, server):
    server.mode = "gone"
    house.lookup.moved()
    decision = check(house)
    assert decision.action is Action.FLAG
    assert decision.evidence.unverifiable == "no server can be reached from here"


def test_pattern_decides_alone_and_mirrored_lists_need_no_query(house, server):
    bad = listed("http://bad.test/x", house)
    server.tier = Tier.LOCAL
    house.lookup.servers = {Tier.LOCAL: server}
    house.lookup.moved()
    house.publish(make_pattern([bad], now=house.clock.now()))
    decision = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    assert (decision.action, decision.evidence.stage, decision.evidence.list) == (
        Action.BLOCK,
        Stage.PATTERN,
        "mw-8b",
    )
    clean = house.checker.check_now(house.subject("http://ok.test/"), PAGE)
    assert (clean.action, clean.evidence.stage) == (Action.ALLOW, Stage.PATTERN)
    assert house.lookup.requests == 0


def test_stale_mirror_asks_again(house, server):
    server.tier = Tier.LOCAL
    house.lookup.servers = {Tier.LOCAL: server}
    house.lookup.moved()
    house.publish(make_pattern([b"x" * 32], now=house.clock.now() - 86_401))
    assert house.checker.check_now(house.subject("http://ok.test/"), PAGE) is None


def test_known_good_needs_no_query_but_a_short_hit_does(house, server):
    good = sha256(b"good.test/")
    house.publish(
        make_pattern(
            [good], now=house.clock.now(), name="gc-32b", role=Role.KNOWN_GOOD, width=32, mirrored=False
        )
    )
    decision = house.checker.check_now(house.subject("http://good.test/page"), PAGE)
    assert (decision.action, decision.evidence.stage, decision.evidence.verdict) == (
        Action.ALLOW,
        Stage.KNOWN_GOOD,
        Verdict.CLEAN,
    )
    house.publish(
        make_pattern(
            [good[:4] + bytes(28)],
            now=house.clock.now(),
            name="mw-4b",
            role=Role.QUERY,
            width=4,
            mirrored=False,
        )
    )
    assert house.checker.check_now(house.subject("http://good.test/page"), PAGE) is None


def test_known_good_never_counts_for_a_shared_platform(house):
    good = sha256(b"someone.github.io/")
    house.publish(
        make_pattern(
            [good], now=house.clock.now(), name="gc-32b", role=Role.KNOWN_GOOD, width=32, mirrored=False
        )
    )
    assert house.checker.check_now(house.subject("http://someone.github.io/page"), PAGE) is None


def test_block_list_wins_over_known_good(house, server):
    bad = listed("http://bad.test/x", house)
    block = make_pattern([bad], now=house.clock.now())
    good = make_pattern(
        [sha256(b"bad.test/")], now=house.clock.now(), name="gc-32b", role=Role.KNOWN_GOOD, width=32
    )
    house.publish(type(block)((*block.lists, *good.lists)))
    assert house.checker.check_now(house.subject("http://bad.test/x"), PAGE).action is Action.BLOCK


@pytest.mark.parametrize("action", ["allow", "block"])
def test_a_decision_is_remembered_for_its_scheme_alone(house, action):
    house.publish(
        make_pattern([listed("http://bad.test/x", house)] if action == "allow" else [], now=house.clock.now())
    )
    house.lookup.servers.clear()
    house.lookup.moved()
    house.ledger.rules.add(rule(action, Scope.REGEX, "^http:[/][/]"))
    house.reload()
    by_rule, other = (Action.ALLOW, Action.BLOCK) if action == "allow" else (Action.BLOCK, Action.ALLOW)
    for _ in range(2):
        for url, expected in (("http://bad.test/x", by_rule), ("https://bad.test/x", other)):
            assert house.checker.check_now(house.subject(url), PAGE).action is expected, url


@pytest.mark.parametrize("innocent", ["/a%23b%23c", "/a%23b#c"])
def test_a_decision_is_remembered_for_all_that_was_looked_up(house, innocent):
    """A raw `#` adds forms of what stands before it; the canonical text is the same."""
    house.lookup.servers.clear()
    house.lookup.moved()
    house.publish(make_pattern([sha256(b"bad.test/a")], now=house.clock.now()))
    first, second = (
        house.checker.request_subject("http", "bad.test", path) for path in (innocent, "/a#b%23c")
    )
    assert first.canonical == second.canonical
    assert house.checker.check_now(first, PAGE).action is Action.ALLOW
    assert house.checker.check_now(second, PAGE).action is Action.BLOCK


def test_malformed_is_refused_without_a_query_unless_the_policy_flags_it(house, server):
    url = "http://host.test/" + "%25" * 40 + "41" + "/x" * 40_000
    subject = house.subject(url)
    assert subject.problem is not None
    decision = house.checker.check_now(subject, PAGE)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.MALFORMED)
    assert house.lookup.requests == 0
    house.view.replace(policies=Policies(Policy(unverifiable={SubjectClass.MALFORMED: Action.FLAG})))
    decision = house.run(house.checker.check(subject, PAGE))
    assert (decision.action, decision.evidence.stage) == (Action.FLAG, Stage.MALFORMED)
    server.listed[sha256(b"host.test/")] = Risk.DANGEROUS
    house.sleep(61)
    assert house.run(house.checker.check(subject, PAGE)).evidence.stage is Stage.QUERY


def test_confirmed_blocks_everything_under_the_listed_hash(house):
    bad = sha256(b"bad.test/")
    entry = ConfirmedEntry(
        identity=bad, hit=bad, kind=SubjectKind.URL, verdict="malicious", risk="dangerous", threat="malware",
        list="mw-8b", server="fake", source="fake", confirmed_at=house.clock.now(), expires_at=None,
    )  # fmt: skip
    house.ledger.confirmed_set[bad] = entry
    house.reload()
    for url in ("http://bad.test/", "http://www.bad.test/deep?q"):
        decision = house.checker.check_now(house.subject(url), PAGE)
        assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.CONFIRMED)


def test_confirmed_google_entry_may_not_block_once_it_is_old(house):
    bad = sha256(b"bad.test/")
    now = house.clock.now()
    entry = ConfirmedEntry(
        identity=bad, hit=bad, kind=SubjectKind.URL, verdict="malicious", risk="dangerous", threat="malware",
        list="se-4b", server="google", source="google", confirmed_at=now, expires_at=now + 300,
    )  # fmt: skip
    house.ledger.confirmed_set[bad] = entry
    house.reload()
    subject = house.subject("http://bad.test/")
    assert house.checker.check_now(subject, PAGE).action is Action.BLOCK
    house.sleep(1801)
    assert house.checker.check_now(subject, PAGE) is None


@pytest.mark.parametrize("broken", ["pattern", "rulebook", "lookup", "cache"])
def test_an_internal_error_is_unverifiable_and_never_raised(house, broken, monkeypatch, caplog):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("planted")

    if broken == "lookup":
        monkeypatch.setattr(house.checker, "lookup", Broken())
    elif broken == "cache":
        monkeypatch.setattr(house.checker, "cache", Broken())
    else:
        house.view.current = dataclasses.replace(house.view.current, **{broken: Broken()})
    decision = check(house, "http://other.test/")
    assert decision.action is Action.FLAG
    assert decision.evidence.unverifiable == "internal error"
    assert "planted" in caplog.text


def test_a_policy_that_fails_refuses(house, caplog):
    class Broken:
        grouped = False

        def of(self, client, user):
            raise RuntimeError("planted")

    house.view.current = dataclasses.replace(house.view.current, policies=Broken())
    assert check(house).action is Action.BLOCK


def test_all_tiers_are_asked_and_the_first_block_ends_the_wait(server):
    local = FakeServer(Tier.LOCAL)
    server.mode = "hang"
    house = House(local, server)
    local.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    decision = check(house)
    assert decision.action is Action.BLOCK
    assert house.clock.monotonic() < 0.1
    assert check(house, "http://ok.test/").action is Action.FLAG  # one tier's silence is enough
    house.close()


def test_local_look_never_asks(house, server):
    decision = house.checker.check_local(FileSubject((b"f" * 32,)), FILE)
    assert (decision.action, decision.evidence.verdict) == (Action.ALLOW, Verdict.UNKNOWN)
    assert house.lookup.requests == 0


@pytest.mark.parametrize("mode", Mode)
def test_untested_bodies_pass_where_untested_pages_are_blocked(house, server, mode):
    house.view.replace(policies=Policies(Policy(block_untested=True, mode=mode)))
    page = check(house, "http://ok.test/")
    assert (page.action is Action.BLOCK, page.would_block) == (mode is Mode.ENFORCE, mode is Mode.ASSESS)
    body = house.checker.check_local(FileSubject((b"f" * 32,)), FILE)
    assert (body.action, body.would_block) == (Action.ALLOW, False)
    bad = make_pattern([b"f" * 32], now=house.clock.now(), name="x-file-mw-8b", kind=SubjectKind.FILE)
    house.view.replace(pattern=bad)
    listed = house.checker.check_local(FileSubject((b"f" * 32,)), FILE)
    assert (listed.action is Action.BLOCK, listed.would_block) == (mode is Mode.ENFORCE, mode is Mode.ASSESS)


def test_a_frames_only_hit_counts_for_pages_alone(house, server):
    from secondlook.agent.check.evidence import worst_finding
    from secondlook.core.answer import ListedHash, PrefixAnswer
    from secondlook.core.verdict import Threat

    answer = PrefixAnswer(
        (ListedHash(b"h" * 32, Threat.MALWARE, Risk.DANGEROUS, frames_only=True),), 0, 1, "s", "s"
    )
    for cls, found in (
        (SubjectClass.PAGE, True),
        (SubjectClass.SUBRESOURCE, False),
        (SubjectClass.DOWNLOAD, False),
    ):
        assert (worst_finding([b"h" * 32], cls, [(Tier.LOCAL, answer, False)]) is not None) is found


# What is listed, and mildly enough to pass


def test_a_clock_set_back_forgets_remembered_decisions(house, server):
    check(house, "http://ok.test/")
    subject = house.subject("http://ok.test/")
    assert house.checker.check_now(subject, PAGE) is not None
    house.clock.jump(-100_000)
    assert house.checker.check_now(subject, PAGE) is None


@given(st.text() | st.binary())
def test_any_bytes_are_a_decision(raw):
    house = House(FakeServer(Tier.INTRANET, mode="down"))
    try:
        decision = house.run(house.checker.check(house.checker.subject(raw), PAGE))
        assert decision.action in (Action.FLAG, Action.BLOCK)
    finally:
        house.close()
