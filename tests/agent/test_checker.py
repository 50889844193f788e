import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.house import House, confirmed_about, make_pattern
from agentkit.servers import FakeServer
from secondlook.agent.check.evidence import unverifiable
from secondlook.agent.check.groups import ClientGroup, Policies
from secondlook.core.answer import Tier
from secondlook.core.digest import sha256
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.name import Role
from secondlook.core.rules.policy import Level, Mode, Policy
from secondlook.core.rules.rule import Pause, Rule, Scope
from secondlook.core.subject import FileSubject, RequestContext, SubjectKind
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass, Verdict

PAGE = RequestContext(SubjectClass.PAGE, client="127.0.0.1", url="http://bad.test/x", method="GET")
FILE = RequestContext(SubjectClass.DOWNLOAD, client="127.0.0.1", url="http://files.test/a.exe", method="GET")


@pytest.fixture
def server():
    return FakeServer(Tier.INTRANET)


@pytest.fixture
def house(server):
    house = House(server)
    yield house
    house.close()


def listed(url: str, house: House) -> bytes:
    return house.subject(url).hashes[0]


def check(house, url="http://bad.test/x", use=PAGE):
    return house.run(house.checker.check(house.subject(url), use))


def rule(action="allow", scope=Scope.DOMAIN, subject="bad.test", **more) -> Rule:
    values = {"id": "r1", "client": None, "reason": None, "created": 0.0, "expires": None}
    return Rule(action=action, scope=scope, subject=subject, **(values | more))


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


def test_rules_come_first_and_send_no_query(house, server):
    house.publish(make_pattern([listed("http://bad.test/x", house)], now=house.clock.now()))
    house.ledger.rules.add(rule())
    house.reload()
    decision = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    assert (decision.action, decision.evidence.stage, decision.evidence.rule) == (
        Action.ALLOW,
        Stage.RULES,
        "r1",
    )
    house.ledger.rules.remove("r1")
    house.ledger.rules.add(rule("block", subject="ok.test"))
    house.reload()
    assert house.checker.check_now(house.subject("http://ok.test/"), PAGE).action is Action.BLOCK
    assert house.lookup.requests == 0


def test_expiring_rule_ends_by_itself_even_in_the_memory_of_decisions(house, server):
    house.ledger.rules.add(rule(expires=house.clock.now() + 5))
    house.publish(make_pattern([listed("http://bad.test/x", house)], now=house.clock.now()))
    house.reload()
    look = lambda: house.checker.check_now(house.subject("http://bad.test/x"), PAGE).action  # noqa: E731
    assert look() is Action.ALLOW
    house.sleep(4.9)
    assert look() is Action.ALLOW
    house.sleep(0.2)
    assert look() is Action.BLOCK


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


def test_override_is_never_for_downloads(house):
    house.publish(make_pattern([listed("http://bad.test/x", house)], now=house.clock.now()))
    house.ledger.rules.add(rule(source="override"))
    house.reload()
    subject = house.subject("http://bad.test/x")
    assert house.checker.check_now(subject, PAGE).action is Action.ALLOW
    assert (
        house.checker.check_now(subject, dataclasses.replace(PAGE, cls=SubjectClass.DOWNLOAD)).action
        is Action.BLOCK
    )


def test_a_host_that_is_allowed_allows_its_files(house, server):
    house.ledger.rules.add(rule(subject="files.test"))
    house.reload()
    decision = house.checker.check_now(FileSubject((b"f" * 32,)), FILE)
    assert (decision.action, decision.evidence.stage) == (Action.ALLOW, Stage.RULES)
    house.ledger.rules.add(rule("block", Scope.SHA256, (b"f" * 32).hex(), id="r2"))
    house.reload()
    assert house.checker.check_now(FileSubject((b"f" * 32,)), FILE).action is Action.BLOCK


def test_client_rules_pauses_and_groups_are_personal(house):
    house.publish(
        make_pattern([listed("http://bad.test/x", house)], now=house.clock.now(), risk=Risk.HIGHLY_SUSPICIOUS)
    )
    house.view.replace(
        policies=Policies(Policy(), [ClientGroup("lab", ("10.0.0.0/8",), ("ann",), Policy(level=Level.LOW))])
    )
    subject = house.subject("http://bad.test/x")
    look = lambda client, user=None: house.run(  # noqa: E731
        house.checker.check(subject, dataclasses.replace(PAGE, client=client, user=user))
    )
    assert look("127.0.0.1").action is Action.BLOCK
    assert look("10.1.2.3").action is Action.ALLOW
    assert look("127.0.0.1", "ann").action is Action.ALLOW
    now = house.clock.now()
    house.ledger.pauses.put(Pause(id="p", client="192.168.0.0/16", created=now, until=now + 600))
    house.reload()
    paused = look("192.168.1.1")
    assert (paused.action, paused.would_block) == (Action.ALLOW, True)
    assert look("127.0.0.1").action is Action.BLOCK
    house.sleep(601)
    assert look("192.168.1.1").action is Action.BLOCK


def test_a_pause_still_flags_what_nobody_verified(house, server):
    house.view.replace(policies=Policies(Policy(unverifiable={SubjectClass.PAGE: Action.BLOCK})))
    server.mode = "down"
    assert check(house).action is Action.BLOCK
    now = house.clock.now()
    house.ledger.pauses.put(Pause(id="p", client=None, created=now, until=now + 600))
    house.reload()
    decision = check(house)
    assert (decision.action, decision.would_block) == (Action.FLAG, True)


def test_assessment_mode_decides_and_does_not_enforce(house, server):
    house.view.replace(policies=Policies(Policy(mode=Mode.ASSESS)))
    server.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    decision = check(house)
    assert (decision.action, decision.would_block) == (Action.ALLOW, True)


def test_what_was_found_elsewhere_is_judged_by_policy_pause_and_mode(house):
    evidence = unverifiable("no room", ())
    judge = lambda demanded=None: house.checker.judge(FILE, evidence, unverifiable=demanded)  # noqa: E731
    assert judge().action is Action.FLAG
    assert judge(Action.BLOCK).action is Action.BLOCK
    house.view.replace(policies=Policies(Policy(unverifiable={SubjectClass.DOWNLOAD: Action.BLOCK})))
    assert judge().action is Action.BLOCK
    assert judge(Action.FLAG).action is Action.FLAG
    now = house.clock.now()
    house.ledger.pauses.put(Pause(id="p", client=None, created=now, until=now + 600))
    house.reload()
    assert (judge(Action.BLOCK).action, judge(Action.BLOCK).would_block) == (Action.FLAG, True)
    house.sleep(601)
    assert judge().action is Action.BLOCK
    house.view.replace(policies=Policies(Policy(mode=Mode.ASSESS)))
    assert (judge(Action.BLOCK).action, judge(Action.BLOCK).would_block) == (Action.FLAG, True)


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


def mildly(house, stage, url="http://bad.test/"):
    """List a host as suspicious, which passes."""
    if stage is Stage.CONFIRMED:
        house.view.learn(confirmed_about(house, url, risk="suspicious", verdict="suspicious"))
    else:
        house.publish(
            make_pattern(
                [listed(url, house)],
                now=house.clock.now(),
                name="mw-s-8b",
                risk=Risk.SUSPICIOUS,
                mirrored=False,
            )
        )


@pytest.mark.parametrize("stage", [Stage.CONFIRMED, Stage.PATTERN])
def test_what_is_listed_mildly_is_asked_about(house, server, stage):
    mildly(house, stage)
    server.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    decision = check(house)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.QUERY)
    assert [(step.stage, step.outcome) for step in decision.evidence.steps if step.outcome == "hit"] == [
        (stage, "hit")
    ]
    again = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    assert (again.action, again.evidence.stage) == (Action.BLOCK, Stage.CACHE)
    assert house.lookup.requests == 1


@pytest.mark.parametrize("stage", [Stage.CONFIRMED, Stage.PATTERN])
def test_what_is_listed_mildly_and_nowhere_worse_passes_as_that(house, server, stage):
    mildly(house, stage)
    first = check(house)
    again = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    for decision in (first, again):
        evidence = decision.evidence
        assert (decision.action, evidence.stage, evidence.risk) == (Action.ALLOW, stage, Risk.SUSPICIOUS)
    assert first.evidence.steps[-1].stage is Stage.QUERY
    assert again.evidence.steps[-1].stage is Stage.CACHE
    house.view.replace(policies=Policies(Policy(level=Level.HIGH)))
    assert house.checker.check_now(house.subject("http://bad.test/y"), PAGE).action is Action.BLOCK
    assert house.lookup.requests == 1, "what is blocked anyway is not asked about"


@pytest.mark.parametrize("stage", [Stage.CONFIRMED, Stage.PATTERN, Stage.QUERY])
def test_what_is_listed_mildly_is_unverifiable_while_nobody_answers(house, server, stage):
    if stage is Stage.QUERY:
        local = FakeServer(Tier.LOCAL, {listed("http://bad.test/", house): Risk.SUSPICIOUS})
        house.lookup.servers[Tier.LOCAL] = local
        house.lookup.moved()
    else:
        mildly(house, stage)
    server.mode = "down"
    decision = check(house)
    assert (decision.action, decision.evidence.stage) == (Action.FLAG, Stage.UNVERIFIABLE)


def test_a_mild_answer_in_the_cache_does_not_answer_for_other_forms(house, server):
    server.listed[listed("http://bad.test/", house)] = Risk.SUSPICIOUS
    server.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    assert check(house, "http://bad.test/a").action is Action.ALLOW
    assert check(house).action is Action.BLOCK


@pytest.mark.parametrize("stage", [Stage.CONFIRMED, Stage.PATTERN])
def test_nobody_needs_to_be_asked_about_what_is_listed_mildly_and_mirrored(house, stage):
    house.lookup.servers.clear()
    house.lookup.moved()
    mildly(house, stage)
    decision = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    assert (decision.action, decision.evidence.stage) == (Action.ALLOW, stage)


def test_what_is_listed_mildly_opens_nothing_that_cannot_be_read(house, server):
    mildly(house, Stage.PATTERN)
    subject = house.subject("http://bad.test/" + "%25" * 40 + "41" + "/x" * 40_000)
    decision = house.checker.check_now(subject, PAGE)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.MALFORMED)
    house.view.replace(policies=Policies(Policy(unverifiable={SubjectClass.MALFORMED: Action.FLAG})))
    decision = house.run(house.checker.check(subject, PAGE))
    assert (decision.action, decision.evidence.stage) == (Action.FLAG, Stage.MALFORMED)


def test_a_local_look_takes_the_worse_of_lists_and_cache(house, server):
    bad = sha256(b"md5:00")
    file = FileSubject((b"f" * 32, bad), labels=("sha256", "md5"))
    server.listed[bad] = Risk.DANGEROUS
    house.run(house.checker.check(FileSubject((bad,)), FILE))
    house.publish(
        make_pattern(
            [b"f" * 32],
            now=house.clock.now(),
            name="x-file-mw-s-8b",
            kind=SubjectKind.FILE,
            risk=Risk.SUSPICIOUS,
            mirrored=False,
        )
    )
    decision = house.checker.check_local(file, FILE)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.CACHE)
    assert house.checker.check_local(FileSubject((b"f" * 32,)), FILE).evidence.risk is Risk.SUSPICIOUS


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
