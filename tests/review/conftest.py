"""A review page over a real ledger."""

import pytest
from starlette.testclient import TestClient

from ledgerkit.made import make_ledger
from review.stage import ORIGIN, FakeProgram
from secondlook.ground.clock import SystemClock
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.review.app import create_app
from secondlook.review.operations.acknowledged import Acknowledged
from secondlook.review.operations.operations import Operations
from secondlook.review.session import Doorkeeper


@pytest.fixture
def ledger(tmp_path):
    patient = LedgerOptions(keeper=True, background=False, deadline_s=60.0, journal_bytes=1 << 18)
    ledger = Ledger.open(make_ledger(tmp_path / "ledger.sqlite3"), patient)
    yield ledger
    ledger.close()


@pytest.fixture
def program(tmp_path):
    return FakeProgram(tmp_path / "ca.pem")


@pytest.fixture
def door():
    return Doorkeeper(b"k" * 32)


@pytest.fixture
def operations(ledger, program, tmp_path):
    return Operations(ledger, program, Acknowledged(tmp_path / "review.json"), SystemClock())


@pytest.fixture
def app(operations, door):
    return create_app(operations, door, hosts=["127.0.0.1:9000"], clock=SystemClock())


@pytest.fixture
def client(app, door):
    with TestClient(app, base_url=ORIGIN, follow_redirects=False) as client:
        client.get(f"/?token={door.token}")
        yield client
