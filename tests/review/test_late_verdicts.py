"""What the strip about late verdicts says: how many, who, since when, in words that fit the reader."""

import pytest

from secondlook.review.operations.late_verdicts import MOST, named, strip


def late(*names, time="2026-01-31T12:00:00.000Z"):
    return {"id": f"e{time}", "visited_at": time, "let_through": [{"client": n, "user": None} for n in names]}


def test_nothing_new_is_no_strip():
    assert strip([]) is None


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ({"client": "10.0.0.7", "user": "ann"}, "ann"),
        ({"client": "10.0.0.7", "user": None}, "10.0.0.7"),
        ({"client": "127.0.0.1", "user": None}, "this computer"),
        ({"client": "::1", "user": None}, "this computer"),
        ({"client": "127.0.0.2", "user": None}, "tablet of Ada"),
        ({"client": "10.0.0.9", "user": "bob"}, "Bob Miller"),
        ({"client": None, "user": None}, "somebody"),
    ],
)
def test_who_was_let_through(got, words):
    assert named(got, {"127.0.0.2": "tablet of Ada", "bob": "Bob Miller", "10.0.0.9": "a desk"}) == words


def test_a_strip_counts_names_and_dates():
    found = [late("10.0.0.7", "10.0.0.8"), late("10.0.0.7", "10.0.0.9", time="2026-01-30T12:00:00.000Z")]
    told = strip(found)
    assert (told["count"], told["more"], told["people"], told["further"]) == (
        2,
        False,
        ["10.0.0.7", "10.0.0.8"],
        1,
    )
    assert told["since"] == "2026-01-30T12:00:00.000Z"
    assert told["newest"] == found[0]["id"]
    assert told["only"] is None
    assert strip([late("::1")] * MOST)["more"]


def test_a_strip_calls_clients_of_this_computer_by_their_names():
    told = strip([late("127.0.0.2", "127.0.0.3", "127.0.0.4")], {"127.0.0.2": "tablet of Ada"})
    assert (told["people"], told["further"]) == (["tablet of Ada", "this computer"], 0)
