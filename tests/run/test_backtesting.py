"""What is tried in a back-test: a level, a list, a rule, and words that are none of them."""

import pytest

from agentkit.house import make_pattern
from secondlook.agent.backtest import LevelChange, ListChange, RuleChange
from secondlook.core.lists.pattern import Pattern
from secondlook.core.rules.policy import Level
from secondlook.core.rules.rule import Scope
from secondlook.run.assembly.answers.backtesting import change_from

NOW = 2_000_000_000.0
LISTED = make_pattern([b"x" * 32], now=NOW)
(NAME,) = [info.name for info, _ in LISTED.lists]


def change(text, *, action="block", pattern=LISTED):
    return change_from(text, pattern, Level.MEDIUM, NOW, action=action)


def test_a_text_is_a_level_a_list_or_a_rule():
    assert change("high") == LevelChange(Level.HIGH)
    assert isinstance(change(NAME), ListChange)
    (rule,) = change("=evil", action="allow").book.rules
    assert (rule.action, rule.scope, rule.subject) == ("allow", Scope.HOST, "evil")
    assert isinstance(change("evil.example"), RuleChange)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hihg", r"did you mean high\?"),
        (f"{NAME}x", f"did you mean {NAME}"),
        ("evil", "for the host write =evil"),
    ],
)
def test_a_mistyped_name_is_no_host(text, said):
    with pytest.raises(ValueError, match=said):
        change(text)


def test_where_no_list_is_in_force_that_is_said():
    with pytest.raises(ValueError, match="lists in force: none"):
        change("mw-8b", pattern=Pattern(()))


@pytest.mark.parametrize(("text", "kind"), [("high", "level"), (NAME, "list")])
def test_only_a_rule_allows(text, kind):
    with pytest.raises(ValueError, match=f"{text} is a {kind}"):
        change(text, action="allow")
