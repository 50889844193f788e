"""The API's records: events as their fields are described, unknown values null and never missing, bounds of what comes in."""

import pytest
from pydantic import ValidationError

from secondlook.core.event import EVENT_FIELDS, Event, EventKind
from secondlook.core.event_field import Form
from secondlook.core.rules.rule import LONGEST_RULE_S, SHORTEST_S
from secondlook.ledger.log.shape import event_json
from secondlook.review.api.model import EventRecord, LateVerdict, NewPause, NewRule

BARE = Event(id="0", time=0.0, kind=EventKind.ERROR)


def test_an_event_of_which_little_is_known_has_every_key():
    shown = EventRecord.model_validate(event_json(BARE)).model_dump()
    assert {name for name, value in shown.items() if value is not None} == {"id", "time", "kind"}
    digests = {field.name for field in EVENT_FIELDS if field.form is Form.DIGEST}
    assert set(shown) == {field.name for field in EVENT_FIELDS} - digests


@pytest.mark.parametrize("name", [field.name for field in EVENT_FIELDS if field.form is not Form.DIGEST])
def test_no_key_of_an_event_may_be_missing_and_only_optional_ones_are_null(name):
    values = event_json(BARE)
    with pytest.raises(ValidationError):
        EventRecord.model_validate({key: value for key, value in values.items() if key != name})
    optional = next(field.optional for field in EVENT_FIELDS if field.name == name)
    if not optional:
        with pytest.raises(ValidationError):
            EventRecord.model_validate({**values, name: None})


def test_a_late_verdict_is_an_event_with_its_visit():
    got = {"client": None, "user": None, "time": "2026-01-31T12:00:00.000Z"}
    values = {**event_json(BARE), "visited_at": None, "unchecked": True, "let_through": [got]}
    assert set(LateVerdict.model_validate(values).model_dump()) == set(values) - {"identity"}


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
