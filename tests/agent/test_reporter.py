"""Reporting: the first server that takes findings has them, none is lost while all are away."""

import asyncio

import pytest

from secondlook.agent.actions.outbox import Outbox, finding_of
from secondlook.agent.actions.reporter import Reporter
from secondlook.core.event import EventKind
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import ServiceError
from secondlook.wire.finding import Outcome


class Server:
    """A server that takes reports, or says why not."""

    def __init__(self, name="office", fault=None):
        self.name = name
        self.fault = fault
        self.reports = []

    async def report(self, report):
        if self.fault:
            raise ServiceError(self.fault)
        self.reports.append(report)
        return [(Outcome.LISTED, None) for _ in report.findings]


class Events(list):
    def record(self, event):
        self.append(event)

    def amend(self, event_id, **fields):
        raise AssertionError("nothing to amend")


@pytest.fixture
def box(tmp_path):
    box = Outbox(tmp_path)
    for subject in ("evil.example", "worse.example"):
        box.put(finding_of(subject, name="Eicar", engine="clamav"))
    return box


def reporting(box, *servers, **options):
    events = Events()
    return Reporter(box, servers, events, SystemClock(), "desk-7", **options), events


def test_all_that_waits_goes_in_one_report_and_is_an_event(box):
    server = Server()
    reporter, events = reporting(box, server)
    assert asyncio.run(reporter.report_waiting())
    (report,) = server.reports
    assert report.agent == "desk-7"
    assert {finding.subject for finding in report.findings} == {"evil.example", "worse.example"}
    (event,) = events
    assert (event.kind, event.server, event.detail) == (
        EventKind.ACTION,
        "office",
        "2 findings reported to office: 2 listed",
    )
    assert asyncio.run(reporter.report_waiting())
    assert len(server.reports) == 1


def test_another_server_takes_over(box):
    second = Server("second")
    reporter, _ = reporting(box, Server(fault="refused"), second)
    assert asyncio.run(reporter.report_waiting())
    assert len(second.reports) == 1


def test_while_nobody_takes_them_they_wait_and_it_is_one_event(box):
    server = Server(fault="refused")
    reporter, events = reporting(box, server)
    for _ in range(3):
        assert not asyncio.run(reporter.report_waiting())
    assert [(event.kind, event.detail) for event in events] == [
        (EventKind.ERROR, "findings wait to be reported: office: refused")
    ]
    server.fault = "status 503"
    asyncio.run(reporter.report_waiting())
    assert len(events) == 2
    server.fault = None
    assert asyncio.run(reporter.report_waiting())
    assert len(box.waiting()) == 0


def test_it_goes_on_by_itself(box):
    async def story():
        server = Server()
        reporter, _ = reporting(box, server, look_s=0.0)
        running = asyncio.create_task(reporter.run())
        while not server.reports:
            await asyncio.sleep(0)
        box.put(finding_of("later.example", name="Eicar", engine="yara"))
        while len(server.reports) < 2:
            await asyncio.sleep(0)
        running.cancel()
        assert [each.subject for each in server.reports[1].findings] == ["later.example"]

    asyncio.run(story())
