"""The order of stages 1 to 5, and what each of them may decide by itself."""

from dataclasses import replace

import pytest

from agentkit.house import House, confirmed_about, make_pattern
from secondlook.agent.check.stages import OVERRIDE, known_good, local_evidence, rule_for
from secondlook.agent.check.view import REBLOCK
from secondlook.core.lists.name import Role
from secondlook.core.lists.pattern import Pattern
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import FileSubject, RequestContext, SubjectKind
from secondlook.core.url.canonical import url_subject
from secondlook.core.verdict import Risk, Stage, SubjectClass, Verdict
from secondlook.suffix import load_suffixes

URL = "http://www.bad.test/a/b?q=1"
PAGE = RequestContext(SubjectClass.PAGE, client="127.0.0.1", url=URL, method="GET")
DIGEST = b"d" * 32
FILE = FileSubject((DIGEST,))


@pytest.fixture
def house():
    house = House()
    yield house
    house.close()


def rule(action="allow", scope=Scope.DOMAIN, subject="bad.test", **more):
    values = {"id": "r1", "client": None, "reason": None, "created": 0.0, "expires": None}
    return Rule(action=action, scope=scope, subject=subject, **(values | more))


def hash_of(house, url=URL, at=0):
    return house.subject(url).hashes[at]


def local(house, subject=None, context=PAGE, steps=None):
    subject = house.subject(URL) if subject is None else subject
    return local_evidence(
        house.view.current, subject, context, house.clock.now(), [] if steps is None else steps,
        suffixes=load_suffixes(), url_subject=house.subject,
    )  # fmt: skip


def everything(house):
    """A subject that every stage has something to say about."""
    hit, now = hash_of(house), house.clock.now()
    patterns = [
        make_pattern([hit], now=now),
        make_pattern([hit], now=now, name="mw-4b", role=Role.QUERY, width=4),
        make_pattern(
            [hash_of(house, "http://www.bad.test/")], now=now, name="gc-32b", role=Role.KNOWN_GOOD, width=32
        ),
    ]
    house.view.replace(
        rulebook=RuleBook((rule(),)),
        confirmed=[confirmed_about(house, URL)],
        pattern=Pattern([each.lists[0] for each in patterns]),
    )
    return patterns


def without(house, *parts):
    """Take stages away from the front."""
    if "rules" in parts:
        house.view.replace(rulebook=RuleBook(()))
    if "confirmed" in parts:
        house.view.replace(confirmed=())


@pytest.mark.parametrize(
    ("gone", "stage"),
    [((), Stage.RULES), (("rules",), Stage.CONFIRMED), (("rules", "confirmed"), Stage.PATTERN)],
)
def test_the_first_stage_that_knows_decides(house, gone, stage):
    everything(house)
    without(house, *gone)
    evidence = local(house)
    assert evidence.stage is stage
    assert [step.stage for step in evidence.steps] == [Stage.RULES, Stage.CONFIRMED, Stage.PATTERN][
        : len(gone) + 1
    ]


def test_a_short_hit_leaves_the_decision_to_a_server_whatever_a_known_good_list_says(house):
    _, short, good = everything(house)
    without(house, "rules", "confirmed")
    house.view.replace(pattern=Pattern([short.lists[0], good.lists[0]]))
    steps = []
    assert local(house, steps=steps) is None
    assert [step.outcome for step in steps] == ["miss", "miss", "miss", "hit"]
    house.view.replace(pattern=good)
    assert local(house).stage is Stage.KNOWN_GOOD


def test_nothing_known_is_no_evidence(house):
    steps = []
    assert local(house, steps=steps) is None
    assert [(step.stage, step.outcome) for step in steps] == [
        (Stage.RULES, "miss"), (Stage.CONFIRMED, "miss"), (Stage.PATTERN, "miss"), (Stage.KNOWN_GOOD, "miss"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("confirmed", "listed", "stage"),
    [
        (Risk.DANGEROUS, Risk.SUSPICIOUS, Stage.CONFIRMED),
        (Risk.SUSPICIOUS, Risk.DANGEROUS, Stage.PATTERN),
        (Risk.SUSPICIOUS, Risk.HIGHLY_SUSPICIOUS, Stage.PATTERN),
        (Risk.SUSPICIOUS, Risk.SUSPICIOUS, Stage.CONFIRMED),
        (Risk.SUSPICIOUS, None, Stage.CONFIRMED),
    ],
)
def test_the_worse_of_what_is_confirmed_and_what_is_listed_counts(house, confirmed, listed, stage):
    house.view.replace(confirmed=[confirmed_about(house, URL, risk=confirmed.value, verdict="suspicious")])
    if listed is not None:
        house.view.replace(pattern=make_pattern([hash_of(house)], now=house.clock.now(), risk=listed))
    evidence = local(house)
    assert (evidence.stage, evidence.risk) == (stage, confirmed if stage is Stage.CONFIRMED else listed)
    assert Stage.CONFIRMED in [step.stage for step in evidence.steps], "what was found first is shown too"


# Stage 1


def test_a_file_follows_the_rule_about_its_digest_before_that_about_its_url(house):
    context = RequestContext(SubjectClass.DOWNLOAD, client="127.0.0.1", url=URL, method="GET")

    def found(*rules):
        house.view.replace(rulebook=RuleBook(rules))
        rule = rule_for(house.view.current, FILE, context, house.clock.now(), house.subject)
        return None if rule is None else (rule.action, rule.scope)

    about_url = rule("allow")
    about_digest = rule("block", Scope.SHA256, DIGEST.hex(), id="r2")
    assert found() is None
    assert found(about_url) == ("allow", Scope.DOMAIN)
    assert found(about_url, about_digest) == ("block", Scope.SHA256)


@pytest.mark.parametrize("cls", [SubjectClass.PAGE, SubjectClass.SUBRESOURCE, SubjectClass.DOWNLOAD])
@pytest.mark.parametrize("kind", list(SubjectKind))
def test_an_exception_from_the_block_page_is_never_for_files(house, cls, kind):
    context = RequestContext(cls, client="127.0.0.1", url=URL, method="GET")
    subject = FILE if kind is SubjectKind.FILE else house.subject(URL)

    def found(*rules):
        house.view.replace(rulebook=RuleBook(rules))
        return rule_for(house.view.current, subject, context, house.clock.now(), house.subject)

    exception = rule("allow", Scope.HOST, "www.bad.test", source=OVERRIDE, id="exception")
    holds = cls is not SubjectClass.DOWNLOAD and kind is SubjectKind.URL
    assert (found(exception) is not None) == holds
    weaker = rule("block", Scope.DOMAIN, "bad.test", id="operator")
    assert found(exception, weaker).id == ("exception" if holds else "operator"), (
        "what stands behind it counts"
    )


def test_only_a_file_is_judged_by_where_it_came_from(house):
    house.view.replace(rulebook=RuleBook((rule("allow"),)))
    other = house.subject("http://other.test/")
    assert rule_for(house.view.current, other, PAGE, house.clock.now(), house.subject) is None
    nowhere = RequestContext(SubjectClass.DOWNLOAD, client="127.0.0.1")
    assert rule_for(house.view.current, FILE, nowhere, house.clock.now(), house.subject) is None


def test_a_rule_for_other_clients_and_one_that_is_over_decide_nothing(house):
    for other in (rule(client="10.0.0.1"), rule(expires=house.clock.now() - 1)):
        house.view.replace(rulebook=RuleBook((other,)))
        assert local(house) is None


# Stage 2


@pytest.mark.parametrize(
    ("action", "subject", "blocks"),
    [("allow", DIGEST.hex(), False), ("allow", (b"e" * 32).hex(), True), ("block", DIGEST.hex(), True)],
)
@pytest.mark.parametrize("source", [REBLOCK, "fake"])
def test_a_url_is_refused_no_longer_for_a_file_that_is_allowed(house, action, subject, blocks, source):
    entry = confirmed_about(house, URL, source=source, sha256=DIGEST.hex(), expires_at=house.clock.now() + 60)
    house.view.replace(confirmed=[entry], rulebook=RuleBook((rule(action, Scope.SHA256, subject),)))
    evidence = local(house)
    assert (evidence is not None) == (blocks or source != REBLOCK)


def test_a_refusal_that_ended_with_its_file_hides_nothing_else(house):
    host = confirmed_about(house, "http://bad.test/", risk="highly_suspicious")
    ended = confirmed_about(
        house, URL, identity=b"r" * 32, source=REBLOCK, sha256=DIGEST.hex(), expires_at=house.clock.now() + 60
    )
    allowed = RuleBook((rule("allow", Scope.SHA256, DIGEST.hex()),))
    house.view.replace(confirmed=[host, ended], rulebook=allowed)
    assert local(house).hit == host.hit


def test_a_refusal_that_names_no_file_is_not_ended_by_any_rule(house):
    entry = confirmed_about(house, URL, source=REBLOCK, expires_at=house.clock.now() + 60)
    house.view.replace(confirmed=[entry], rulebook=RuleBook((rule("allow", Scope.SHA256, DIGEST.hex()),)))
    assert local(house).stage is Stage.CONFIRMED


# Stage 3


def test_a_list_of_files_says_nothing_about_urls(house):
    pattern = make_pattern([hash_of(house)], now=house.clock.now(), kind=SubjectKind.FILE)
    house.view.replace(pattern=pattern)
    assert local(house) is None
    assert local(house, FileSubject((hash_of(house),))).verdict is Verdict.MALICIOUS


# Stage 5


def good(house, *urls, trusted=True):
    hashes = [hash_of(house, url) for url in urls]
    pattern = make_pattern(
        hashes,
        now=house.clock.now(),
        name="gc-32b",
        role=Role.KNOWN_GOOD,
        width=32,
        risk=Risk.SAFE,
        trusted=trusted,
    )
    house.view.replace(pattern=pattern)


def is_good(house, subject):
    steps = []
    evidence = known_good(house.view.current, subject, house.clock.now(), steps, load_suffixes())
    return evidence is not None, [step.outcome for step in steps]


def test_only_the_exact_host_is_known_good(house):
    good(house, "http://fine.test/")
    assert is_good(house, house.subject("http://fine.test/page"))[0]
    assert is_good(house, house.subject("http://www.fine.test/")) == (False, ["miss"])


def test_no_list_that_may_not_be_trusted_says_that_something_is_good(house):
    good(house, "http://fine.test/", trusted=False)
    assert is_good(house, house.subject("http://fine.test/")) == (False, ["miss"])


def test_nobody_is_good_where_anybody_can_publish_and_nothing_that_cannot_be_read(house):
    platform = "http://somebody.github.io/"
    good(house, platform, "http://fine.test/")
    assert is_good(house, house.subject(platform)) == (False, ["skipped"])
    malformed = replace(house.subject("http://fine.test/"), problem="too long")
    assert is_good(house, malformed) == (False, ["skipped"])
    assert is_good(house, url_subject("http://fine.test/", load_suffixes()))[0]


def test_of_a_file_only_its_own_digest_is_good(house):
    pattern = make_pattern(
        [DIGEST],
        now=house.clock.now(),
        name="x-file-gc-32b",
        role=Role.KNOWN_GOOD,
        width=32,
        kind=SubjectKind.FILE,
    )
    house.view.replace(pattern=pattern)
    assert is_good(house, FILE)[0]
    archive = FileSubject((b"a" * 32, DIGEST), labels=("sha256", "member:a"))
    assert is_good(house, archive) == (False, ["miss"])
