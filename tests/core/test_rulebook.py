"""Rules by the precedence of the query process, stage 1."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.digest import file_subject, sha256
from secondlook.core.rules.client import names_client
from secondlook.core.rules.rule import SET_BACK_S, Rule, Scope
from secondlook.core.rules.rulebook import RuleBook, contrary, overruling
from secondlook.core.rules.subject import parse_subject
from secondlook.core.url.canonical import url_subject
from secondlook.suffix import PublicSuffixes, load_suffixes

NOW = 1000.0
numbers = itertools.count()


class NoRegistry(PublicSuffixes):
    """Older rules may be about all of `com`."""

    def is_registry(self, host: str) -> bool:
        return False


NO_REGISTRY = NoRegistry("", "")


def make_rule(action, text, *, client=None, expires=None):
    scope, subject = parse_subject(text, NO_REGISTRY)
    return Rule(
        id=f"r{next(numbers)}",
        action=action,
        scope=scope,
        subject=subject,
        client=client,
        reason=None,
        created=1.0,
        expires=expires,
    )


def decide(rules, url, suffixes, client="10.0.0.1", user=None, now=NOW):
    found = RuleBook(rules).match(url_subject(url, suffixes), client, user, now)
    return None if found is None else found.action


STRONGEST_FIRST = [
    "http://a.b.example.com/x/y?q=1",
    "http://a.b.example.com/x/",
    "a.b.example.com/",
    "=a.b.example.com",
    "b.example.com",
    "example.com",
    "/example/",
]


@pytest.mark.parametrize("stronger", range(len(STRONGEST_FIRST)))
@pytest.mark.parametrize("weaker", range(len(STRONGEST_FIRST)))
def test_the_narrower_rule_decides(stronger, weaker, suffixes):
    if stronger >= weaker:
        return
    for winner, loser in (("allow", "block"), ("block", "allow")):
        rules = [make_rule(loser, STRONGEST_FIRST[weaker]), make_rule(winner, STRONGEST_FIRST[stronger])]
        for order in (rules, rules[::-1]):
            assert decide(order, "http://a.b.example.com/x/y?q=1", suffixes) == winner


def test_a_file_is_matched_by_its_sha256():
    digest = sha256(b"content")
    book = RuleBook([make_rule("block", digest.hex())])
    assert book.match(file_subject(digest), None, None, NOW).action == "block"
    assert book.match(file_subject(sha256(b"other")), None, None, NOW) is None


def test_an_allowed_member_does_not_allow_the_archive_but_a_blocked_one_blocks_it():
    archive, member = sha256(b"archive"), sha256(b"member")
    subject = file_subject(archive, further=(("member:a.exe", member),))
    assert RuleBook([make_rule("allow", member.hex())]).match(subject, None, None, NOW) is None
    assert RuleBook([make_rule("block", member.hex())]).match(subject, None, None, NOW).action == "block"
    both = RuleBook([make_rule("block", member.hex()), make_rule("allow", archive.hex())])
    assert both.match(subject, None, None, NOW).action == "allow"
    decoded = file_subject(archive, further=(("decoded", member),))
    assert RuleBook([make_rule("allow", member.hex())]).match(decoded, None, None, NOW).action == "allow"


@pytest.mark.parametrize(
    "text", ["example.com", "=example.com", "http://example.com/a", "example.com/", "/exam/"]
)
def test_on_a_tie_allow_wins(text, suffixes):
    rules = [make_rule("block", text), make_rule("allow", text), make_rule("block", text)]
    assert decide(rules, "http://example.com/a", suffixes) == "allow"


def test_a_host_rule_and_a_domain_rule_of_that_host_tie(suffixes):
    assert (
        decide([make_rule("block", "=a.com"), make_rule("allow", "a.com")], "http://a.com/", suffixes)
        == "allow"
    )


@pytest.mark.parametrize("client", ["10.0.0.1", "10.0.0.0/8", "anna"])
def test_rules_for_a_client_come_before_all_others(client, suffixes):
    rules = [make_rule("allow", "http://a.com/x"), make_rule("block", "/a/", client=client)]
    assert decide(rules, "http://a.com/x", suffixes, "10.0.0.1", "anna") == "block"
    assert decide(rules, "http://a.com/x", suffixes, "192.0.2.1", "berta") == "allow"


def test_expired_rules_do_not_count(suffixes):
    rules = [make_rule("allow", "http://a.com/x", expires=NOW), make_rule("block", "a.com", expires=NOW + 1)]
    assert decide(rules, "http://a.com/x", suffixes) == "block"
    assert decide(rules, "http://a.com/x", suffixes, now=NOW - 1) == "allow"
    assert decide(rules, "http://a.com/x", suffixes, now=NOW + 1) is None


def test_a_timed_rule_from_the_future_does_not_count(suffixes):
    """It was made while the clock was ahead, and would last as much longer."""
    timed = replace(make_rule("allow", "a.com", expires=NOW + 600), created=NOW)
    assert decide([timed], "http://a.com/", suffixes) == "allow"
    assert decide([timed], "http://a.com/", suffixes, now=NOW - SET_BACK_S) == "allow"
    assert decide([timed], "http://a.com/", suffixes, now=NOW - SET_BACK_S - 1) is None
    lasting = replace(timed, expires=None)
    assert decide([lasting], "http://a.com/", suffixes, now=NOW - 86_400) == "allow"


@pytest.mark.parametrize(
    ("rule", "matching", "others"),
    [
        (
            "example.com",
            ["http://example.com/", "https://a.b.example.com:8/x"],
            ["http://notexample.com/", "http://com/"],
        ),
        ("=example.com", ["http://example.com/x"], ["http://a.example.com/"]),
        (
            "http://e.com/a/",
            ["http://e.com/a/", "https://e.com:1/a/b?c#d"],
            ["http://e.com/a", "http://e.com/b?/a/", "http://x.e.com/a/"],
        ),
        (
            "http://e.com/a?b",
            ["https://u@e.com/a?b#c"],
            ["http://e.com/a", "http://e.com/a?b&c", "http://e.com/a/?b"],
        ),
        ("http://e.com/%61/../b", ["http://e.com/b"], ["http://e.com/a"]),
        ("127.0.0.1", ["http://127.0.0.1:8001/", "http://0x7f000001/"], ["http://127.0.0.2/"]),
        ("[::1]", ["http://[0:0:0:0:0:0:0:1]/"], ["http://[::2]/"]),
        (r"/^https:.*\.exe$/", ["https://a.com/x.exe"], ["http://a.com/x.exe", "https://a.com/x.exe?y"]),
    ],
)
def test_what_each_form_matches(rule, matching, others, suffixes):
    rules = [make_rule("block", rule)]
    assert [decide(rules, url, suffixes) for url in matching] == ["block"] * len(matching)
    assert [decide(rules, url, suffixes) for url in others] == [None] * len(others)


def test_explain_tells_all_that_fire_the_deciding_one_first(suffixes):
    rules = [
        make_rule("block", "/com/"),
        make_rule("block", "example.com"),
        make_rule("allow", "example.com"),
        make_rule("block", "other.com"),
        make_rule("allow", "example.com", expires=1.0),
        make_rule("block", "com", client="10.0.0.0/8"),
    ]
    book = RuleBook(rules)
    subject = url_subject("http://example.com/", suffixes)
    fired = book.explain(subject, "10.0.0.1", None, NOW)
    assert fired == (rules[5], rules[2], rules[1], rules[0])
    assert book.match(subject, "10.0.0.1", None, NOW) is fired[0]
    assert RuleBook().explain(subject, None, None, NOW) == ()


def test_a_stored_expression_that_cannot_be_used_is_set_aside(suffixes):
    broken = Rule(
        id="x",
        action="block",
        scope=Scope.REGEX,
        subject="(",
        client=None,
        reason=None,
        created=0.0,
        expires=None,
    )
    book = RuleBook([broken, make_rule("block", "/exam/")])
    assert book.unusable == (broken,)
    assert book.match(url_subject("http://example.com/", suffixes), None, None, NOW).action == "block"


texts = st.sampled_from(
    [*STRONGEST_FIRST, "com", "=example.com", "/x.y/", "http://a.b.example.com/x/y", "other.com"]
)
rule_lists = st.lists(
    st.builds(
        make_rule,
        st.sampled_from(["allow", "block"]),
        texts,
        client=st.sampled_from([None, "10.0.0.1", "10.0.0.0/8", "anna", "192.0.2.0/24"]),
        expires=st.sampled_from([None, 500.0, 2000.0]),
    ),
    max_size=8,
)


def precedence(rule, subject):
    """The specification's order, said again in the plainest way; None: the rule is not about the subject."""
    host, expression = subject.host, subject.expressions[0]
    target = rule.subject.partition("://")[2]
    match rule.scope:
        case Scope.URL:
            fits, rank = target == expression, (1, 0)
        case Scope.PREFIX:
            fits, rank = expression.startswith(target), (2, -len(target))
        case Scope.HOST:
            fits, rank = rule.subject == host, (3, 0)
        case Scope.DOMAIN:
            own = rule.subject == host
            fits = own or host.endswith("." + rule.subject)
            rank = (3, 0) if own else (4, -len(rule.subject))
        case _:
            import re

            fits, rank = re.search(rule.subject, subject.canonical) is not None, (5, 0)
    return (rule.client is None, rank, rule.action != "allow") if fits else None


@given(
    rule_lists,
    st.sampled_from(["http://a.b.example.com/x/y?q=1", "http://example.com/", "http://b.example.com/x/"]),
)
def test_match_is_the_first_by_precedence(rules, url):
    from secondlook.suffix import load_suffixes

    subject = url_subject(url, load_suffixes())
    order = sorted(
        precedence(rule, subject)
        for rule in rules
        if precedence(rule, subject) is not None
        and (rule.expires is None or rule.expires > NOW)
        and (rule.client is None or names_client(rule.client, "10.0.0.1", "anna"))
    )
    book = RuleBook(rules)
    found = book.match(subject, "10.0.0.1", "anna", NOW)
    assert (None if found is None else precedence(found, subject)) == (order[0] if order else None)
    assert [precedence(rule, subject) for rule in book.explain(subject, "10.0.0.1", "anna", NOW)] == order


def test_many_rules_and_long_paths_cost_little(suffixes):
    rules = [make_rule("block", f"host{number}.test") for number in range(2000)]
    rules += [make_rule("block", f"http://p.test/{'d/' * number}") for number in range(200)]
    book = RuleBook(rules)
    assert book.match(url_subject("http://x.host1999.test/", suffixes), None, None, NOW) is not None
    long = url_subject("http://q.test/" + "a/" * 30_000, suffixes)
    assert book.match(long, None, None, NOW) is None


def rule(action, subject, **more):
    scope, normal = parse_subject(subject, load_suffixes())
    values = {"id": f"{action} {subject}", "client": None, "reason": None, "created": 1.0, "expires": None}
    return Rule(action=action, scope=scope, subject=normal, **{**values, **more})


@pytest.mark.parametrize(
    ("old", "new", "stronger"),
    [
        (rule("allow", "a.example"), rule("block", "a.example"), True),
        (rule("block", "a.example"), rule("allow", "a.example"), False),  # on a tie allow wins
        (rule("allow", "a.example", expires=NOW), rule("block", "a.example"), False),
        (rule("allow", "a.example", client="10.0.0.7"), rule("block", "a.example"), False),
        (rule("block", "http://a.example/x"), rule("allow", "a.example"), False),
        (rule("block", "http://a.example/"), rule("allow", "a.example"), True),  # a prefix before a host
        (rule("allow", "ab" * 32), rule("block", "ab" * 32), True),
        (rule("allow", "a.example"), rule("block", "/a[.]example/"), False),  # of an expression: nothing
    ],
)
def test_the_stronger_rule_about_the_very_thing_is_found(old, new, stronger):
    assert overruling(new, [old, new], NOW, load_suffixes()) == (old if stronger else None)


def test_only_the_same_subject_and_client_of_an_operator_s_rule_is_the_contrary():
    new = rule("block", "a.example")
    assert contrary(rule("allow", "a.example"), new)
    assert not contrary(rule("block", "a.example"), new)
    assert not contrary(rule("allow", "=a.example"), new)
    assert not contrary(rule("allow", "a.example", client="10.0.0.7"), new)
    assert not contrary(rule("allow", "a.example", source="config"), new)
    assert new.scope is Scope.DOMAIN
