"""Records of rules and pauses: the bounds of what comes in."""

import pytest
from pydantic import ValidationError

from secondlook.core.rules.rule import LONGEST_RULE_S, SHORTEST_S
from secondlook.review.api.rule_records import NewPause, NewRule


@pytest.mark.parametrize("for_s", [SHORTEST_S, LONGEST_RULE_S, None])
def test_a_rule_within_its_bounds(for_s):
    assert NewRule(action="block", subject="a.example", for_s=for_s).for_s == for_s


@pytest.mark.parametrize(
    "changes",
    [
        {"for_s": SHORTEST_S / 2},
        {"for_s": LONGEST_RULE_S * 2},
        {"for_s": "60"},
        {"for_s": True},
        {"subject": ""},
        {"client": "  "},
        {"reason": "x" * 501},
        {"action": "flag"},
        {"unknown": 1},
    ],
)
def test_a_rule_past_its_bounds_is_refused(changes):
    with pytest.raises(ValidationError):
        NewRule.model_validate({"action": "block", "subject": "a.example", **changes})


def test_a_pause_is_a_number_of_minutes_and_nothing_that_looks_like_one():
    assert NewPause(minutes=5).minutes == 5
    with pytest.raises(ValidationError):
        NewPause.model_validate({"minutes": "5"})
