"""Records of quarantined files: kept, replaced, found by id and by state; over each engine and the fake."""

from dataclasses import replace

import pytest

from ledgerkit.samples import START, identity_of
from secondlook.core.event import QuarantineRecord

pytestmark = pytest.mark.anyio


async def test_quarantine_records_are_kept_and_replaced(any_ledger):
    record = QuarantineRecord(
        id="q1",
        state="moving",
        sha256="ab" * 32,
        size=3,
        path="/home/u/\udcff\n.exe",
        stored_as="ab" * 32,
        mode=0o644,
        modified_at=START,
        moved_at=START,
        identity=identity_of("x"),
        proxy="one",
    )
    await any_ledger.quarantine.keep(record)
    await any_ledger.quarantine.keep(replace(record, id="q2", moved_at=START + 1))
    await any_ledger.quarantine.keep(replace(record, state="held"))
    assert await any_ledger.quarantine.find("q1") == replace(record, state="held")
    assert await any_ledger.quarantine.find("q9") is None
    assert [one.id for one in await any_ledger.quarantine.find_all()] == ["q1", "q2"]
    assert [one.id for one in await any_ledger.quarantine.find_all(states=["moving"])] == ["q2"]
