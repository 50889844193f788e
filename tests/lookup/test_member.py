"""What a server's answers and failures change about it, and what is reported of that."""

import asyncio

import pytest

from secondlook.config.query import CircuitSettings, RemoteServer
from secondlook.core.answer import Tier
from secondlook.core.asking.circuit import CircuitState
from secondlook.lookup.client import ServerClient
from secondlook.lookup.failure import LOST, Remedy, ServerFailure
from secondlook.lookup.member import TierMember
from secondlook.lookup.pace import Share
from secondlook.lookup.reading import SearchResult

REFUSED = ServerFailure("refused", Remedy.ELSEWHERE)
CUT_OFF = ServerFailure(min(LOST), Remedy.ELSEWHERE)
PATIENCE = ServerFailure("status 429", Remedy.BACK_OFF, 30.0)
WRONG = ServerFailure("status 401", Remedy.CONFIGURATION)
PAGES = Share.BROWSING


class Client(ServerClient):
    """Answers with what it is given."""

    def __init__(self, *, google=False):
        super().__init__(RemoteServer(url="http://127.0.0.1:1", name="office"))
        self.google = google
        self.outcome = SearchResult({})

    async def search(self, prefixes, *, timeout_s):
        if isinstance(self.outcome, ServerFailure):
            raise self.outcome
        return self.outcome


class Scene:
    """One member, its clock and what was reported of it."""

    def __init__(self, *, google=False):
        self.now, self.changes = 1000.0, []
        self.client = Client(google=google)
        self.member = TierMember(
            self.client, Tier.INTRANET, CircuitSettings(failures=3, backoff_min=1.0, backoff_max=60.0),
            monotonic=lambda: self.now, draw=lambda: 0.5, on_change=lambda change: self.changes.append(change.what),
        )  # fmt: skip

    def state(self):
        return self.member.circuit.state

    def ask(self, outcome):
        self.client.outcome = outcome
        return asyncio.run(self.member.ask([b"1234"], PAGES, 0.5))


@pytest.fixture
def scene():
    return Scene()


def test_an_answer_is_given_on_and_remembered(scene):
    assert scene.ask(SearchResult({})) == SearchResult({})
    assert (scene.member.answered, scene.member.heard_at, scene.member.healthy) == (True, 1000.0, True)
    assert scene.changes == []


def test_so_many_failures_in_a_row_open_the_circuit_and_an_answer_closes_it(scene):
    scene.ask(REFUSED)
    scene.ask(REFUSED)
    scene.ask(SearchResult({}))
    scene.ask(REFUSED)
    scene.ask(REFUSED)
    assert scene.state() is CircuitState.CLOSED
    assert scene.ask(REFUSED) is REFUSED
    assert (scene.state(), scene.member.healthy) == (CircuitState.OPEN, False)
    assert scene.member.lost == REFUSED.outcome
    assert scene.member.ready_at(PAGES) is None
    assert scene.changes == ["opened"]
    assert not scene.member.begin_probe()
    scene.now = scene.member.probe_at
    assert scene.member.begin_probe()
    scene.ask(SearchResult({}))
    assert scene.changes == ["opened", "closed"]
    assert (scene.member.healthy, scene.member.lost) == (True, None)


def test_one_failure_of_google_is_enough():
    scene = Scene(google=True)
    scene.ask(REFUSED)
    assert scene.state() is CircuitState.OPEN
    assert scene.member.probe_at is not None
    assert scene.member.probe_at - scene.now >= 15 * 60 / 2


def test_a_wish_for_patience_slows_it_down_and_opens_nothing(scene):
    for _ in range(5):
        scene.ask(PATIENCE)
    assert scene.state() is CircuitState.CLOSED
    assert scene.member.ready_at(PAGES) == 1030.0
    assert scene.member.ready_at(Share.DOWNLOADS) == 0.0
    assert scene.member.probe_at == 1030.0
    assert not scene.member.begin_probe()
    scene.now = 1030.0
    assert scene.member.begin_probe()
    scene.ask(SearchResult({}))
    assert scene.changes == ["slowed", "resumed"]
    assert scene.member.probe_at is None


def test_a_wish_for_patience_by_google_is_a_failure():
    scene = Scene(google=True)
    scene.ask(PATIENCE)
    assert scene.changes == ["opened"]


def test_a_configuration_error_is_reported_once_until_it_answers(scene):
    for _ in range(2):
        scene.ask(WRONG)
    assert scene.changes == ["misconfigured"]
    assert scene.member.problem == "status 401"
    scene.ask(SearchResult({}))
    assert scene.member.problem is None
    scene.ask(WRONG)
    assert scene.changes == ["misconfigured"] * 2


def test_requests_that_were_lost_together_count_once(scene):
    for _ in range(5):
        scene.member.failed(CUT_OFF, PAGES, 999.0)
    assert scene.state() is CircuitState.CLOSED
    for _ in range(2):
        scene.now += 1
        scene.member.failed(CUT_OFF, PAGES, scene.now - 0.5)
    assert scene.state() is CircuitState.OPEN


def test_a_healthy_one_is_not_probed(scene):
    assert (scene.member.probe_at, scene.member.begin_probe()) == (None, False)
