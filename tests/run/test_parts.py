"""Parts that every process of the family has; what each does is tested with it."""

import asyncio

import pytest
import sqlalchemy as sa

from ledgerkit.busy import busy
from secondlook.ground.lanes import STATE
from secondlook.ledger.engine.database import Place
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.run.assembly.check import parts
from secondlook.run.assembly.check.parts import own_site_key, site_key

pytestmark = pytest.mark.anyio


@pytest.fixture
def ledger(tmp_path):
    """A ledger that passes for one of several proxies."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", LedgerOptions(background=False), report=lambda _: None)
    ledger.store.place = Place(sa.URL.create("postgresql"), None)
    yield ledger
    ledger.close()


async def test_the_key_of_the_site_is_that_of_whoever_came_first(ledger, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = await site_key(tmp_path / "one", ledger)
    assert first == own_site_key(tmp_path / "one")
    assert own_site_key(tmp_path / "two") != first
    assert await site_key(tmp_path / "two", ledger) == first
    assert own_site_key(tmp_path / "two") == first


async def test_a_database_that_does_not_answer_holds_up_nothing_of_the_state_folder(
    ledger, tmp_path, monkeypatch
):
    monkeypatch.setattr(parts, "SHARED_KEY_S", 0.01)
    with busy(ledger):
        assert await site_key(tmp_path, ledger) == own_site_key(tmp_path)
        async with asyncio.timeout(60.0):
            await STATE.run(tmp_path.exists)
