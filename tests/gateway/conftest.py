"""A gate over the real query process, with fake servers and a fake ledger."""

import pytest

from agentkit.house import House, make_pattern
from agentkit.servers import FakeServer
from gatewaykit.gate import make_gate
from icapkit.stand import Stand
from proxykit.gatekeeper import FakeGatekeeper
from secondlook.config.traffic import DownloadsSettings
from secondlook.core.answer import Tier


@pytest.fixture
def house():
    """A house whose one server answers, with http://bad.example/ in the pattern."""
    found = House(FakeServer(Tier.LOCAL))
    found.publish(
        make_pattern([found.subject("http://bad.example/").hashes[0]], now=found.clock.now(), mirrored=False)
    )
    yield found
    found.close()


@pytest.fixture
def gate(house, tmp_path):
    found = make_gate(house, tmp_path)
    yield found
    house.run(found.bodies.aclose())


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


@pytest.fixture
def stand(tmp_path, gatekeeper):
    """An ICAP service over a faked check of files."""
    found = Stand(tmp_path, gatekeeper, downloads=DownloadsSettings())
    yield found
    found.close()
