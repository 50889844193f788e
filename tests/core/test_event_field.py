"""A field of an event is written down once: that it then stands in every place is checked here."""

from pathlib import Path
from typing import Any

import pytest

from secondlook.core.event import EVENT_FIELDS, Event, EventKind
from secondlook.core.event_field import Form, Reveals
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ledger.engine.codec import EVENT_COLUMNS, event_row, event_values, row_event
from secondlook.ledger.engine.tables import events
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.ledger.log.privacy import Discretion
from secondlook.ledger.log.shape import ALL_EVENT_KEYS, EVENT_KEYS, csv_lines, event_json
from secondlook.review.api.log_records import EventRecord
from secondlook.review.pages.log_pages import facts

SAMPLES = {
    Form.CODE: "ab{0:02}",
    Form.WORD: "word_{0}",
    Form.TEXT: "text {0}",
    Form.URL: "https://host{0}.example/path?query",
    Form.MOMENT: 1_700_000_000.25,
    Form.MILLISECONDS: 1.5,
    Form.SIZE: 1 << 40,
    Form.COUNT: 3,
    Form.FLAG: True,
    Form.DIGEST: bytes(32),
    Form.JSON: {"member": "a.exe"},
}
ENUMS = {"kind": EventKind.LATE_VERDICT, "cls": SubjectClass.PAGE, "subject": SubjectKind.FILE}


def full_event() -> Event:
    """An event of which every field has a value of its own."""
    values: dict[str, Any] = {}
    for number, field in enumerate(EVENT_FIELDS):
        value = SAMPLES[field.form]
        values[field.attribute] = value.format(number) if isinstance(value, str) else value
    return Event(**(values | ENUMS))


def test_every_field_has_its_column_and_comes_back_from_a_ledger(tmp_path: Path):
    event = full_event()
    assert set(events.c.keys()) == {"seq", *EVENT_COLUMNS}
    with_ledger = Ledger.open(tmp_path / "ledger.sqlite3", LedgerOptions(background=False))
    with_ledger.recorder.record(event)
    with_ledger.store.commit_now(lambda _: None)
    while with_ledger.store.writer.waiting:
        with_ledger.store.commit_now(lambda _: None)
    found = with_ledger.events.find(event.id)
    with_ledger.close()
    assert found == event


def test_a_row_has_the_values_in_the_order_of_the_columns():
    event = full_event()
    assert list(event_row(event).items()) == list(zip(EVENT_COLUMNS, event_values(event), strict=True))
    assert row_event(event_row(event)) == event


def test_what_is_unknown_stays_unknown_in_the_row_and_back():
    event = Event(id="0", time=0.0, kind=EventKind.ERROR)
    assert {name for name, value in event_row(event).items() if value is not None} == {"id", "time", "kind"}
    assert row_event(event_row(event)) == event


def test_every_field_has_its_key_in_json_and_csv_after_those_of_the_contract():
    shape = event_json(full_event())
    assert list(shape) == list(ALL_EVENT_KEYS)
    assert set(shape) == {field.name for field in EVENT_FIELDS}
    assert ALL_EVENT_KEYS[: len(EVENT_KEYS)] == EVENT_KEYS
    assert ALL_EVENT_KEYS[len(EVENT_KEYS) :] == (
        "user",
        "referrer",
        "content_type",
        "identity",
        "extra",
        "proxy",
        "gateway",
    )
    assert None not in shape.values()
    heading, cells = csv_lines([full_event()])
    assert heading == ",".join(ALL_EVENT_KEYS) + "\r\n"
    assert "text" in cells


def test_the_api_has_every_field_but_digests():
    shape = event_json(full_event())
    shown = EventRecord.model_validate(shape).model_dump(by_alias=True)
    digests = {field.name for field in EVENT_FIELDS if field.form is Form.DIGEST}
    assert shown == {key: value for key, value in shape.items() if key not in digests}
    required = EventRecord.model_json_schema()["required"]
    assert required == [key for key in ALL_EVENT_KEYS if key not in digests]  # null, never missing


def test_the_page_of_an_entry_names_every_field_but_these():
    unnamed = {field.name for field in EVENT_FIELDS if field.label is None}
    assert unnamed == {"id", "time", "subject", "identity", "extra"}
    shown = [name for name, _ in facts(event_json(full_event()))]
    labels = [field.label for field in EVENT_FIELDS if field.label is not None]
    assert shown == [*labels, "Member"]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("level", "lost"),
    [
        (2, {"url", "referrer", "filename", "detail", "extra"}),
        (3, {"url", "referrer", "filename", "detail", "extra", "host", "client", "user", "method",
             "content_type", "gateway"}),
    ],
)  # fmt: skip
def test_what_each_level_of_privacy_leaves_out(level, lost):
    event = full_event()
    kept = Discretion(level).event(event)
    assert kept is not None
    assert {name for name, value in event_json(kept).items() if value is None} == lost


def test_what_came_from_outside_is_kept_at_every_level_for_these_alone():
    """A new field of text gives something away unless it is named here."""
    outside = {field.name for field in EVENT_FIELDS if field.form in (Form.TEXT, Form.URL, Form.JSON)}
    harmless = {field.name for field in EVENT_FIELDS if field.reveals is Reveals.NOTHING}
    assert outside & harmless == {"list", "rule", "server", "proxy"}  # names of ours and of the operator
