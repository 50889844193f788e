"""What a row of the log holds: bodies with their requests, and the same again, each event once."""

from dataclasses import replace

import pytest

from review.stage import make_event
from secondlook.core.event import EventKind
from secondlook.core.subject import SubjectKind
from secondlook.ledger.log.shape import event_json
from secondlook.review.filters import LogFilter, UnusableFilterError
from secondlook.review.pages.log_view import FOLD_S, LogView, Row, fold, group

START = 1_790_000_000
URL = "https://h.example/a"


def request(at, url=URL, **values):
    values = {"decision": "allow", "client": "10.0.0.7", **values}
    return event_json(make_event(EventKind.CHECK, url=url, host="h.example", time=START + at, **values))


def body(at, url=URL, **values):
    return request(at, url, subject=SubjectKind.FILE, sha256="07" * 32, **values)


def shape(rows):
    return [(row.event["id"], row.request and row.request["id"]) for row in rows]


def test_a_body_takes_the_nearest_request_before_it():
    first, answer, second, again = request(0), body(1), request(10), body(11)
    assert shape(fold([again, second, answer, first])) == [
        (again["id"], second["id"]),
        (answer["id"], first["id"]),
    ]


@pytest.mark.parametrize(
    "other",
    [
        request(0, url="https://h.example/b"),
        request(0, client="10.0.0.8"),
        request(0, method="POST"),
        request(1 - FOLD_S - 1),
        body(0),
    ],
)
def test_what_does_not_belong_to_a_body_stays_apart(other):
    answer = body(1)
    assert shape(fold([answer, other])) == [(answer["id"], None), (other["id"], None)]


def test_a_request_whose_body_stands_on_no_page_stays():
    early = request(0)
    late = body(FOLD_S)
    assert shape(fold([late, early])) == [(late["id"], early["id"])]
    assert shape(fold([early])) == [(early["id"], None)]


def test_the_same_again_is_one_row_at_the_place_of_the_newest():
    newest, between, older = request(9), request(8, url="https://h.example/b"), request(1)
    rows = group([Row(newest), Row(between), Row(older)])
    assert [(row.event["id"], row.count) for row in rows] == [(newest["id"], 2), (between["id"], 1)]
    assert [row.event for row in rows[0].earlier] == [older]


@pytest.mark.parametrize("kind", [EventKind.UPDATE, EventKind.SERVER, EventKind.ERROR])
def test_what_says_something_of_its_own_is_never_put_together(kind):
    events = [
        event_json(make_event(kind, time=START + n, url=None, host=None, detail=str(n))) for n in (2, 1)
    ]
    assert len(group([Row(event) for event in events])) == 2


def test_every_event_of_a_page_is_in_one_row():
    events = [make(at) for at in range(40, 0, -1) for make in (body, request) if at % 3 or make is request]
    rows = LogView(LogFilter()).rows(events)
    every = [each for row in rows for each in (row, *row.earlier)]
    held = [event["id"] for row in every for event in (row.event, row.request) if event]
    missing = {event["id"] for event in events} - set(held)
    assert len(held) == len(set(held))
    assert not missing


def test_links_keep_the_view_and_change_one_thing():
    view = LogView.parse({"decision": "block", "sort": "host", "apart": "1"}, ["client:ann"])
    assert view.query() == "decision=block&not=client%3Aann&sort=host&apart=1"
    assert (
        view.only("host", "h.example") == "decision=block&host=h.example&not=client%3Aann&sort=host&apart=1"
    )
    assert view.without("host", "h.example").count("not=") == 2
    assert view.sorted_by("") == "decision=block&not=client%3Aann&apart=1"
    assert [chip.text for chip in view.chips({})] == ["decision: blocked", "not client: ann"]
    assert [chip.query for chip in view.chips({})] == [
        "not=client%3Aann&sort=host&apart=1",
        "decision=block&sort=host&apart=1",
    ]
    for given in ("2026-01-31T00:00:00Z", "2026-01-31T00:00", "2026-01-31", "2026-01-31T09:00+09:00"):
        (chip,) = LogView(LogFilter(since=given)).chips({})
        assert (chip.text, chip.time) == ("since", "2026-01-31T00:00:00.000Z"), given
    (chip,) = LogView(LogFilter(until="7d")).chips({})
    assert (chip.text, chip.time) == ("until: 7d", None)
    listed = replace(view, asked=LogFilter(list="mw-8b"))
    assert [chip.text for chip in listed.chips({"mw-8b": "URLhaus (malware)"})] == ["list: URLhaus (malware)"]


def test_an_order_that_does_not_exist_is_refused():
    with pytest.raises(
        UnusableFilterError, match=r"^sort: expected one of oldest, host, what, client, got 'x'$"
    ):
        LogView.parse({"sort": "x"}, [])
