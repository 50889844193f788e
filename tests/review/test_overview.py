"""The overview: what needs attention, in which order, and the counts as data."""

import pytest

from review.stage import FakeProgram
from secondlook.ledger.log.statistics import HourCount
from secondlook.review.api.status_records import Overview
from secondlook.review.operations.overview import attention, compose


@pytest.fixture
def program(tmp_path):
    return FakeProgram(tmp_path / "ca.pem")


def notes(program, **changes):
    calm = {"waiting": 0, "trouble": None, "dropped": 0, "paused": {}}
    return [
        (note["kind"], note["title"]) for note in attention(program, program.alerts(), **(calm | changes))
    ]


def test_when_all_is_well_nothing_needs_attention(program):
    assert notes(program) == []


def test_what_is_worst_comes_first(program):
    program.server_rows[0]["up"] = False
    program.alert_rows = [{"kind": "warn", "title": "An alert.", "text": ""}]
    paused = {"10.0.0.2": 2.0, "10.0.0.1": 1.0}
    assert notes(program, waiting=3, trouble="the disk is full", dropped=1, paused=paused) == [
        ("bad", "The ledger cannot be written."),
        ("warn", "1 event was lost."),
        ("warn", "No answer from embedded."),
        ("warn", "Protection is paused for 10.0.0.1."),
        ("warn", "Protection is paused for 10.0.0.2."),
        ("warn", "An alert."),
    ]  # that something waits is no news while a server is away


def test_why_a_server_is_away_stands_with_it(program):
    program.server_rows[0] |= {"up": False, "detail": "the connection is refused"}
    (note,) = attention(program, program.alerts(), waiting=0, trouble=None, dropped=0, paused={})
    assert note["text"].startswith("The connection is refused. What is known there alone")
    program.server_rows.append({"name": "far", "tier": "network", "up": False, "detail": "no answer in time"})
    (note,) = attention(program, program.alerts(), waiting=0, trouble=None, dropped=0, paused={})
    assert note["text"].startswith("Embedded: the connection is refused; far: no answer in time. What")


@pytest.mark.parametrize(("waiting", "text"), [(1, "1 subject waits"), (2_000, "2,000 subjects wait")])
def test_what_waits_is_counted_in_words(program, waiting, text):
    (note,) = attention(program, program.alerts(), waiting=waiting, trouble=None, dropped=0, paused={})
    assert note["text"].startswith(text)


def test_the_counts_of_hours_are_data_and_their_sum_is_the_day(program):
    hours = [HourCount(at=3600.0 * n, checked=10, blocked=n, flagged=1, would_block=0) for n in range(3)]
    made = compose(
        program=program,
        alerts=program.alerts(),
        lists=program.lists(),
        hours=hours,
        waiting=0,
        oldest=None,
        latest=[],
        paused={None: 7200.0, "10.0.0.1": 1.0},
        trouble=None,
        dropped=0,
    )
    assert made["day"] == {"checked": 30, "blocked": 3, "flagged": 3}
    assert made["hours"][1] == {
        "time": "1970-01-01T01:00:00.000Z", "checked": 10, "blocked": 1, "flagged": 1,
    }  # fmt: skip
    assert made["paused_until"] == "1970-01-01T02:00:00.000Z"
    assert Overview.model_validate(made).model_dump()["hours"] == made["hours"]
