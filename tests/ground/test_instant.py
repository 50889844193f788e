"""Instants as text."""

import pytest

from secondlook.ground.instant import read_instant, rfc3339

START = 1_700_000_000.0


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (START + 0.9996, "2023-11-14T22:13:20.999Z"),
        (1e300, None),
        (float("nan"), None),
    ],
)
def test_times(at, shown):
    assert rfc3339(at) == shown


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2023-11-14", START - 80_000),
        ("2023-11-14T22:13:20", START),
        ("2023-11-14 23:13:20+01:00", START),
        ("2023-11-14T22:13:20Z", START),
    ],
)
def test_a_date_is_read_in_utc_where_it_names_no_zone(text, at):
    assert read_instant(text) == at


@pytest.mark.parametrize("text", ["", "yesterday", "2023-02-30"])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError):
        read_instant(text)
