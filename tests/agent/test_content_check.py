"""A flagged download that was cleared by its URL is judged by its content as well, and never cleared by it."""

import asyncio
import contextlib

import pytest

from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.agent.recheck import content_check
from secondlook.agent.recheck.content_check import ContentCheck, remembered_file
from secondlook.agent.recheck.rechecker import Rechecker
from secondlook.agent.recheck.refetch import RefetchError
from secondlook.config.query import RecheckSettings
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind, QueueEntry
from secondlook.core.subject import FileSubject, RequestContext, SubjectKind
from secondlook.core.verdict import Risk, SubjectClass

URL = "http://files.test/a.exe"
FILE = FileSubject((b"f" * 32, b"m" * 32), labels=("sha256", "member:a"), size=7)


class Refetcher:
    """Stands for the network: gives one file, or fails."""

    def __init__(self):
        self.fetched = []
        self.error = None

    async def fetch(self, url):
        self.fetched.append(url)
        if self.error is not None:
            raise self.error
        return FILE


@pytest.fixture
def refetcher():
    return Refetcher()


class Fetching(House):
    content: ContentCheck


@pytest.fixture
def house(refetcher):
    house = Fetching(FakeServer(Tier.INTRANET))
    house.content = ContentCheck(refetcher, house.batch_check, house.enforcement, house.clock)
    house.rechecker = Rechecker(
        house.batch_check, house.ledger.queue, house.enforcement, house.renewal, house.clock, RecheckSettings(),
        random=lambda: 0.5, on_cleared=house.content.offer,
    )  # fmt: skip
    yield house
    house.close()


def cleared(
    house, kind=SubjectKind.URL, cls=SubjectClass.DOWNLOAD, url=URL, clients=("10.0.0.7", "10.0.0.8")
):
    now = house.clock.now()
    return QueueEntry(
        id="q", identity=b"u" * 32, kind=kind, cls=cls, hashes=(b"u" * 32,), url=url, host="files.test", sha256=None,
        filename=None, size=None, clients=clients, count=1, first_seen=now - 60, last_seen=now, attempts=1,
        next_attempt=now, reason="",
    )  # fmt: skip


def test_a_listed_file_is_a_late_verdict_about_the_file(house):
    house.servers[0].listed[FILE.hashes[1]] = Risk.DANGEROUS
    assert house.run(house.content.look(cleared(house))) is True
    [event] = [event for event in house.ledger.recorded if event.kind is EventKind.LATE_VERDICT]
    assert (event.subject, event.sha256, event.url) == (SubjectKind.FILE, FILE.identity.hex(), URL)
    assert FILE.hashes[1] in {entry.hit for entry in house.ledger.snapshots.confirmed()}


@pytest.mark.parametrize("mode", ["up", "down"])
def test_a_file_that_nobody_lists_changes_nothing(house, mode):
    house.servers[0].mode = mode
    assert house.run(house.content.look(cleared(house))) is False
    assert not house.ledger.recorded
    assert not house.ledger.snapshots.confirmed()


@pytest.mark.parametrize(
    ("error", "words"), [(RefetchError("too large"), "too large"), (RuntimeError("planted"), "failed inside")]
)
def test_what_cannot_be_fetched_is_logged_and_nothing_else(house, refetcher, caplog, error, words):
    caplog.set_level("INFO")
    refetcher.error = error
    assert house.run(house.content.look(cleared(house))) is False
    assert words in caplog.text


def run_for_a_while(house):
    async def main():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(house.content.run(), 10)

    house.run(main())


def test_what_the_second_look_clears_is_fetched(house, refetcher):
    (server,) = house.servers
    server.mode = "down"
    context = RequestContext(SubjectClass.DOWNLOAD, client="10.0.0.7", url=URL, method="GET")
    house.run(house.gatekeeper.check(house.subject(URL), context))
    server.mode = "up"
    server.listed[FILE.hashes[0]] = Risk.DANGEROUS
    assert house.run(house.rechecker.look()).cleared == 1
    run_for_a_while(house)
    assert refetcher.fetched == [URL]
    assert EventKind.LATE_VERDICT in [event.kind for event in house.ledger.recorded]


def test_only_downloads_whose_url_is_known_are_fetched(house, refetcher):
    for entry in (
        cleared(house, SubjectKind.FILE),
        cleared(house, cls=SubjectClass.PAGE),
        cleared(house, cls=SubjectClass.SUBRESOURCE),
        cleared(house, url=None),
        cleared(house, url=URL + "?1"),
        cleared(house, url=URL + "?2"),
    ):
        house.content.offer(entry)
    run_for_a_while(house)
    assert refetcher.fetched == [URL + "?1", URL + "?2"]


def test_what_waits_is_bounded(house, refetcher, caplog, monkeypatch):
    caplog.set_level("INFO")
    for number in range(content_check._MOST_WAITING + 1):
        house.content.offer(cleared(house, url=f"{URL}?{number}"))
    assert "one is left out" in caplog.text
    run_for_a_while(house)
    assert len(refetcher.fetched) == content_check._MOST_WAITING


def test_the_record_of_a_fetched_file(house):
    entry = remembered_file(cleared(house), FILE)
    assert (entry.identity, entry.hashes, entry.labels) == (FILE.identity, FILE.hashes, FILE.labels)
    assert (entry.kind, entry.cls, entry.size, entry.sha256) == (
        SubjectKind.FILE, SubjectClass.DOWNLOAD, 7, FILE.identity.hex()
    )  # fmt: skip
    assert (entry.client, entry.url, entry.host) == ("10.0.0.7", URL, "files.test")
    assert remembered_file(cleared(house, clients=()), FILE).client is None
