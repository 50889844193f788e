"""A report over HTTP, from the agent's client to a real server."""

import asyncio

import pytest

from secondlook.config.query import RemoteServer
from secondlook.config.service import PublishSettings
from secondlook.ground.clock import SystemClock
from secondlook.lookup.client import ServerClient
from secondlook.lookup.failure import ServerFailure
from secondlook.lookup.reporting import FindingClient
from secondlook.server.findings.intake import Intake
from secondlook.server.findings.receiver import FindingReceiver
from secondlook.server.http.app import AppSettings
from secondlook.wire.finding import Finding, Outcome, Report
from serverkit import listening, make_store

REPORT = Report("desk-7", (Finding(subject="evil.example", name="Eicar", engine="clamav"),))


async def for_ever():
    await asyncio.Event().wait()


def send(tmp_path, *, mode="auto", token="secret"):
    async def story():
        store = make_store(tmp_path)
        receiver = FindingReceiver(Intake(store, PublishSettings()), mode, SystemClock(), for_ever)
        async with listening(store, AppSettings(tokens=("secret",), findings=receiver)) as (serving, _):
            client = FindingClient(
                ServerClient(RemoteServer(url=f"http://127.0.0.1:{serving.port}", name="office", token=token))
            )
            try:
                return client.name, await client.report(REPORT)
            finally:
                await client.aclose()

    return asyncio.run(story())


def test_a_report_is_answered(tmp_path):
    assert send(tmp_path) == ("office", [(Outcome.LISTED, None)])


@pytest.mark.parametrize("options", [{"mode": "off"}, {"token": "wrong"}])
def test_a_refused_report_is_a_failure_of_that_server(tmp_path, options):
    with pytest.raises(ServerFailure, match="status 403"):
        send(tmp_path, **options)
