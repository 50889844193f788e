"""Patience with a server, for each share of the traffic apart."""

import pytest

from secondlook.core.asking.schedule import Backoff
from secondlook.lookup.pace import Pace, Share

PAGES, FILES = Share.BROWSING, Share.DOWNLOADS


@pytest.fixture
def pace():
    return Pace(Backoff(first_s=10.0, cap_s=100.0))


def test_in_the_beginning_everybody_may_ask(pace):
    assert [pace.ready_at(share) for share in Share] == [0.0, 0.0]
    assert not any(map(pace.slowed, Share))


def test_it_waits_as_long_as_the_server_asked(pace):
    pace.refused(PAGES, 5.0, 0.5, asked_s=30.0)
    assert (pace.ready_at(PAGES), pace.slowed(PAGES)) == (35.0, True)
    assert (pace.ready_at(FILES), pace.slowed(FILES)) == (0.0, False)


def test_a_shorter_wish_does_not_shorten_a_longer_one(pace):
    pace.refused(PAGES, 5.0, 0.5, asked_s=30.0)
    pace.refused(PAGES, 6.0, 0.5, asked_s=1.0)
    assert pace.ready_at(PAGES) == 35.0


@pytest.mark.parametrize("asked_s", [None, 0.0])
def test_without_a_hint_it_waits_longer_each_time(pace, asked_s):
    waits = []
    for _ in range(8):
        pace.refused(PAGES, 0.0, 0.5, asked_s=asked_s)
        waits.append(pace.ready_at(PAGES))
    assert waits[0] < waits[1] < waits[2]
    assert waits[-1] == waits[-2], "up to a limit"


def test_an_answer_ends_it_for_its_share(pace):
    for share in Share:
        pace.refused(share, 5.0, 0.5, asked_s=30.0)
    pace.answered(PAGES)
    assert (pace.ready_at(PAGES), pace.slowed(PAGES)) == (0.0, False)
    assert pace.slowed(FILES)
    pace.refused(PAGES, 0.0, 0.5, asked_s=None)
    once = pace.ready_at(PAGES)
    pace.answered(PAGES)
    pace.refused(PAGES, 0.0, 0.5, asked_s=None)
    assert pace.ready_at(PAGES) == once, "it counts from the beginning again"
