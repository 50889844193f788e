"""A replica passes findings on to its publisher, and says so when the publisher cannot be asked."""

import asyncio

import pytest

from secondlook.config.service import LimitsSettings, PublishSettings, UpstreamSettings
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import ServiceError
from secondlook.server.findings.intake import Intake
from secondlook.server.findings.receiver import FindingReceiver
from secondlook.server.http.app import AppSettings
from secondlook.server.replica.forwarding import ForwardedFindings
from secondlook.wire.finding import Finding, Outcome, Report
from serverkit import listening, make_store
from serverkit.ports import free_port

REPORT = Report("desk-7", (Finding(subject="evil.example", name="Eicar", engine="clamav"),))


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def forward(store, *, mode="ask", token="secret"):
    async def story():
        receiver = FindingReceiver(
            Intake(store, PublishSettings()), mode, SystemClock(), asyncio.Event().wait
        )
        settings = AppSettings(
            tokens=("secret",), findings=receiver, limits=LimitsSettings(balancers=("127.0.0.0/8",))
        )
        async with listening(store, settings) as (serving, _):
            forwarded = ForwardedFindings(
                UpstreamSettings(url=f"http://127.0.0.1:{serving.port}", token=token)
            )
            try:
                return await forwarded.take(REPORT, "10.0.0.7")
            finally:
                await forwarded.aclose()

    return asyncio.run(story())


def test_the_publisher_decides_and_sees_who_it_was(store):
    assert forward(store) == [(Outcome.WAITING, None)]
    (waiting,) = Intake(store, PublishSettings()).findings()
    assert (waiting.agent, waiting.address) == ("desk-7", "10.0.0.7")


@pytest.mark.parametrize("options", [{"mode": "off"}, {"token": "wrong"}])
def test_a_publisher_that_takes_none_refuses(store, options):
    assert forward(store, **options) == [(Outcome.REFUSED, "the publisher does not take findings from here")]


def test_a_publisher_that_is_away_or_cannot_keep_them_is_an_error(store):
    (store.root / "findings.json").write_text("{")
    with pytest.raises(ServiceError, match="status 503"):
        forward(store)

    async def asking():
        forwarded = ForwardedFindings(UpstreamSettings(url=f"http://127.0.0.1:{free_port()}"))
        try:
            await forwarded.take(REPORT, "::1")
        finally:
            await forwarded.aclose()

    with pytest.raises(ServiceError, match="All connection attempts failed"):
        asyncio.run(asking())
