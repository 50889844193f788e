"""The start of what works beside the traffic: it waits for the first lists, but not for ever."""

import asyncio

import pytest

from secondlook.agent.pattern.source import UpdateOutcome
from secondlook.core.answer import EMBEDDED
from secondlook.ground.errors import PatternError
from secondlook.run.assembly.background import background

FAILED, TAKEN = UpdateOutcome(EMBEDDED, error="it starts"), UpdateOutcome(EMBEDDED, generation="1")
OTHER_FAILED = UpdateOutcome("office", error="no connection")


class Updater:
    """An updater whose servers answer as they are set to; the last answer stays."""

    def __init__(self, *outcomes, stamp=None):
        self.outcomes, self.stamp, self.asked = list(outcomes), stamp, 0

    def read_stamp(self):
        if isinstance(self.stamp, Exception):
            raise self.stamp
        return self.stamp

    async def update_now(self):
        self.asked += 1
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(background, "FIRST_AGAIN_S", 0.0)


def begin(updater):
    asyncio.run(background._first_generation(updater))
    return updater.asked


def test_our_own_server_may_be_slow_for_a_moment(caplog):
    assert begin(Updater([FAILED], [FAILED], [TAKEN])) == 3
    assert caplog.text.count("no lists from embedded yet: it starts") == 2


def test_nobody_waits_for_a_server_that_is_away():
    assert begin(Updater([TAKEN, OTHER_FAILED])) == 1


@pytest.mark.parametrize("stamp", [None, PatternError("it is damaged")])
def test_where_no_lists_are_in_force_they_are_fetched(stamp):
    assert begin(Updater([TAKEN], stamp=stamp)) == 1


def test_where_lists_are_in_force_nobody_is_asked():
    assert begin(Updater([TAKEN], stamp=object())) == 0


def test_a_start_is_not_kept_for_ever(monkeypatch, caplog):
    monkeypatch.setattr(background, "FIRST_UPDATE_S", 0.05)
    assert begin(Updater([FAILED])) >= 1
    assert "the first lists take long" in caplog.text
