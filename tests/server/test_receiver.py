"""The receiver of a running server: findings that come together become one generation."""

import asyncio

import pytest

from secondlook.config.service import PublishSettings
from secondlook.ground.clock import SystemClock
from secondlook.server.findings.intake import Intake
from secondlook.server.findings.receiver import FindingReceiver
from secondlook.server.meter import Meter
from secondlook.wire.finding import Finding, Outcome, Report
from serverkit import make_store


def report(subject):
    return Report("desk", (Finding(subject=subject, name="Eicar", engine="clamav"),))


@pytest.fixture
def intake(tmp_path):
    return Intake(make_store(tmp_path), PublishSettings())


def test_findings_of_a_moment_are_published_together(intake):
    async def story():
        published = asyncio.Queue()

        async def publish():
            await published.put(None)

        meter = Meter()
        receiver = FindingReceiver(intake, "auto", SystemClock(), publish, meter=meter, gather_s=0.0)
        subjects = [f"evil{at}.example" for at in range(5)]
        await asyncio.gather(*(receiver.take(report(each), "::1") for each in subjects))
        running = asyncio.create_task(receiver.run())
        await published.get()
        for _ in range(10):
            await asyncio.sleep(0)
        assert published.empty()
        await receiver.take(report("late.example"), "::1")
        await published.get()
        running.cancel()
        assert meter.findings == {"listed": 6}
        assert b'secondlook_server_findings_total{outcome="listed"} 6.0' in meter.text()

    asyncio.run(story())


def test_what_could_not_be_published_is_published_later(intake, caplog):
    async def story():
        attempts = asyncio.Queue()

        async def publish():
            await attempts.put(None)
            if attempts.qsize() == 1:
                raise OSError(28, "No space left on device")

        receiver = FindingReceiver(intake, "auto", SystemClock(), publish, gather_s=0.0, again_s=0.0)
        running = asyncio.create_task(receiver.run())
        await receiver.take(report("evil.example"), "::1")
        async with asyncio.timeout(60):
            while attempts.qsize() < 2:
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert attempts.qsize() == 2
        assert not running.done()
        running.cancel()

    asyncio.run(story())
    assert "not published yet" in caplog.text


def test_what_waits_is_not_published(intake):
    async def story():
        async def publish():
            raise AssertionError("nothing is listed")

        receiver = FindingReceiver(intake, "ask", SystemClock(), publish, gather_s=0.0)
        running = asyncio.create_task(receiver.run())
        assert await receiver.take(report("evil.example"), "::1") == [(Outcome.WAITING, None)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.done()
        running.cancel()

    asyncio.run(story())


@pytest.mark.parametrize(("mode", "is_open"), [("auto", True), ("ask", True), ("off", False)])
def test_off_takes_nothing(intake, mode, is_open):
    assert FindingReceiver(intake, mode, SystemClock(), asyncio.Event().wait).is_open is is_open
