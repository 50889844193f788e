"""Which rule is stronger than a new one."""

import pytest

from secondlook.core.rules.overruling import contrary, overruling
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.rules.subject import parse_subject
from secondlook.suffix import load_suffixes

NOW = 1000.0


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
