"""Records of events: as their fields are described, unknown values null and never missing."""

import pytest
from pydantic import ValidationError

from secondlook.core.event import EVENT_FIELDS, Event, EventKind
from secondlook.core.event_field import Form
from secondlook.ledger.log.shape import event_json
from secondlook.review.api.log_records import EventRecord, LateVerdict

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
