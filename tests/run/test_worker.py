"""A worker shares with the others how many connections each has, where there are others and a place for it."""

from types import SimpleNamespace

import pytest

from secondlook.ground.errors import ConfigError, LedgerError
from secondlook.proxy.mitm.transport.spread import Spread
from secondlook.run import worker


def process(state, *, workers, index=1):
    return SimpleNamespace(
        plan=SimpleNamespace(workers=workers),
        settings=SimpleNamespace(state=state, mode="regular"),
        index=index,
    )


@pytest.mark.parametrize(("workers", "shared"), [(1, False), (2, True)])
def test_one_worker_alone_shares_with_nobody(tmp_path, workers, shared):
    found = worker._spread(process(tmp_path, workers=workers))
    assert isinstance(found, Spread) == shared
    assert (tmp_path / worker.SPREAD_FILE).exists() == shared


def test_without_a_place_to_share_it_works_all_the_same(tmp_path, caplog):
    assert worker._spread(process(tmp_path / "gone", workers=2)) is None
    assert "connections are not spread over the workers" in caplog.text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("no such list"), "no such list"),
        (LedgerError("it is away"), "it is away"),
        (SystemExit(1), "`mode: regular` cannot be served here, as logged above"),
    ],
)
def test_what_keeps_a_worker_from_starting_ends_it_with_a_reason(monkeypatch, tmp_path, error, said):
    told = []

    async def fails(_process):
        raise error

    monkeypatch.setattr(
        worker, "begin", lambda name: process(tmp_path, workers=1) if name == "worker" else None
    )
    monkeypatch.setattr(worker, "work", fails)
    monkeypatch.setattr(worker, "cannot_start", lambda why: told.append(str(why)))
    worker.main()
    assert told == [said]
