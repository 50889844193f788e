"""A late verdict is shown once, on a navigation of the client whom it is about, and never stops a request."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from mitmproxy import http
from mitmproxy.test.tflow import tclient_conn, tflow

from agentkit.virtual import START, StillClock
from secondlook.core.event import Event, EventKind
from secondlook.ground.errors import LedgerError
from secondlook.proxy import late_notice
from secondlook.proxy.late_notice import NOTIFIED, LateNotices
from secondlook.refusal.block_page import Pages

CLIENT = "10.0.0.7"
BAD = "http://files.test/bad?<b>"


@dataclass
class Log:
    """The end of a log that other workers write too."""

    events: list[Event] = field(default_factory=list)
    fault: Exception | None = None
    since: list[float] = field(default_factory=list)

    async def recent(self, since: float) -> tuple[list[Event], str]:
        self.since.append(since)
        return await self.after("0")

    async def after(self, cursor: str) -> tuple[list[Event], str]:
        if self.fault is not None:
            raise self.fault
        return self.events[int(cursor) :], str(len(self.events))

    def record(self, event: Event) -> None:
        self.events.append(event)


def verdict(number: int = 1, kind: EventKind = EventKind.CONFIRMED, **more) -> Event:
    event = Event(
        id=f"E{number}", kind=kind, time=START, client=CLIENT, url=BAD, host="files.test", threat="malware"
    )
    return replace(event, **more)


def navigation(client: str = CLIENT, *, method: str = "GET", **headers: str) -> http.HTTPFlow:
    flow = tflow(client_conn=tclient_conn())
    flow.client_conn.peername = (client, 4711)
    flow.request = http.Request.make(
        method, "http://other.test/page", headers={"Accept": "text/html", **headers}
    )
    return flow


class Place:
    """The notices of one worker over a log."""

    def __init__(self, *events: Event) -> None:
        self.log = Log(list(events))
        self.notices = LateNotices(
            self.log,
            Pages(),
            StillClock(),
            lambda now: f"N{now:g}",
            lambda flow: flow.request.host == "own.test",
        )

    async def read(self) -> None:
        await self.notices._log.look()

    async def ask(self, flow: http.HTTPFlow) -> bytes | None:
        answering = self.notices.requestheaders(flow)
        if answering is not None:
            await answering
        return None if flow.response is None else flow.response.content


def story(place: Place, *flows: http.HTTPFlow) -> list[bytes | None]:
    async def run() -> list[bytes | None]:
        await place.read()
        return [await place.ask(flow) for flow in flows]

    return asyncio.run(run())


@pytest.mark.parametrize("kind", [EventKind.CONFIRMED, EventKind.LATE_VERDICT])
def test_the_next_navigation_is_answered_with_what_turned_out_bad_and_leads_on(kind):
    place = Place(verdict(kind=kind))
    (page,) = story(place, flow := navigation())
    assert page is not None
    assert b"/bad?&lt;b&gt;" in page
    assert b"http://other.test/page" in page
    assert flow.response is not None
    assert flow.response.headers["cache-control"] == "no-store"
    note = place.log.events[-1]
    assert (note.kind, note.client, note.extra) == (EventKind.ACTION, CLIENT, {NOTIFIED: "E1"})


def test_each_verdict_is_told_once_and_one_at_a_time():
    place = Place(verdict(1), verdict(2))
    pages = story(place, *(navigation() for _ in range(4)))
    assert [page is not None for page in pages] == [True, True, False, False]
    assert [event.extra for event in place.log.events[2:]] == [{NOTIFIED: "E1"}, {NOTIFIED: "E2"}]


def test_what_another_worker_told_is_not_told_again():
    async def run() -> None:
        place = Place(verdict())
        await place.read()
        told = Event(id="N1", kind=EventKind.ACTION, time=START, client=CLIENT, extra={NOTIFIED: "E1"})
        place.log.record(told)
        assert await place.ask(navigation()) is None

    asyncio.run(run())


def test_whom_a_verdict_names_is_told_and_nobody_else():
    place = Place(verdict(client=None, extra={"clients": ["10.0.0.1", "10.0.0.2"]}))
    pages = story(place, navigation(), navigation("10.0.0.1"), navigation("10.0.0.2"))
    assert [page is not None for page in pages] == [False, True, True]


def test_what_is_no_late_verdict_is_not_told():
    place = Place(verdict(kind=EventKind.BLOCKED), verdict(kind=EventKind.FLAGGED))
    assert story(place, navigation()) == [None]


@pytest.mark.parametrize(
    "flow",
    [
        navigation(method="POST"),
        navigation(Accept="application/json"),
        navigation(**{"Sec-Fetch-Dest": "image"}),
        navigation(**{"Sec-Fetch-Dest": "iframe"}),
    ],
)
def test_what_is_no_navigation_is_not_disturbed(flow):
    assert story(Place(verdict()), flow, navigation())[0] is None


def test_our_own_pages_and_what_is_answered_already_go_on():
    own, answered = navigation(), navigation()
    own.request.host = "own.test"
    answered.response = http.Response.make(403, b"refused")
    place = Place(verdict())
    assert story(place, own, answered) == [None, b"refused"]
    assert len(place.log.events) == 1


@pytest.mark.parametrize("fault", [LedgerError("away"), RuntimeError("planted")])
def test_a_log_that_cannot_be_read_stops_nobody(fault):
    async def run() -> None:
        place = Place(verdict())
        await place.read()
        place.log.fault = fault
        assert await place.ask(navigation()) is not None  # what is known is told

    asyncio.run(run())


def test_a_page_does_not_wait_for_the_log(monkeypatch):
    monkeypatch.setattr(late_notice, "LOOK_AT_MOST_S", 0.0)

    async def run() -> None:
        place = Place(verdict())
        await place.read()

        async def silent(cursor: str) -> tuple[list[Event], str]:
            await asyncio.Event().wait()
            raise AssertionError(cursor)

        place.log.after = silent
        assert await place.ask(navigation()) is None
        del place.log.after
        monkeypatch.setattr(late_notice, "LOOK_AT_MOST_S", 30.0)
        assert await place.ask(navigation()) is not None

    asyncio.run(run())


def test_so_many_clients_are_remembered(monkeypatch):
    monkeypatch.setattr(late_notice, "MOST_CLIENTS", 2)
    place = Place(
        *(verdict(number, client=f"10.0.0.{number}") for number in range(4)), verdict(9, client="10.0.0.1")
    )
    pages = story(place, *(navigation(f"10.0.0.{number}") for number in (0, 1, 1, 2, 3)))
    assert [page is not None for page in pages] == [True, True, True, False, False]


def test_a_day_of_the_log_is_looked_back_on():
    place = Place()
    story(place)
    assert place.log.since == [START - 86_400.0]
