"""The writer's lock of a server's folder: waited for within bounds, and it is said for whom. Under a second."""

import os
from contextlib import ExitStack

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server.store import store as store_module
from secondlook.server.store.store import ServerStore


def test_a_writer_that_does_not_end_is_named_and_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "WRITER_WAIT_S", 0.1)
    store = ServerStore(tmp_path)
    with (
        store.writing(),
        pytest.raises(PatternError, match=f"process {os.getpid()} has held .*lock"),
        store.writing(),
    ):
        pass


def test_it_is_said_whom_one_waits_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "WRITER_TOLD_S", -1.0)
    store, first = ServerStore(tmp_path), ExitStack()
    first.enter_context(store.writing())
    monkeypatch.setattr(store_module.time, "sleep", lambda _s: first.close())
    with store.writing():
        assert [each.getMessage() for each in caplog.records] == [
            f"waiting for process {os.getpid()}, which holds {tmp_path / 'lock'}"
        ]
