"""Connections are spread over workers that accept on one socket."""

import asyncio
import contextlib
import mmap
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.proxy import RunningProxy
from secondlook.proxy.mitm.transport.spread import AHEAD, PAGE_BYTES, Spread

PAUSE_S = 0.1  # long, so that a busy machine does not count as a worker that is away
CLIENTS = 40


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "connections"


def test_who_is_ahead_leaves_the_next_to_the_others(shared):
    one, other = (Spread(shared, index, 2) for index in range(2))
    assert one.room() == AHEAD
    one.note(AHEAD)
    assert one.room() == 0
    assert other.room() == 2 * AHEAD
    other.note(1)
    assert one.room() == 1
    one.note(100)
    assert other.room() == 124
    other.note(125)
    assert other.room() == 0


def test_the_page_is_on_the_disk_before_it_is_mapped(shared, monkeypatch):
    """Where the disk is full that raises OSError; to write to a hole would end the worker (SIGBUS)."""

    def mapped(descriptor: int, length: int) -> bytearray:
        assert os.fstat(descriptor).st_blocks * 512 >= length
        return bytearray(length)

    monkeypatch.setattr(mmap, "mmap", mapped)
    Spread(shared, 0, 2)


def test_a_worker_that_begins_anew_has_none_and_the_others_keep_theirs(shared):
    first, *others = (Spread(shared, index, 3) for index in range(3))
    for each in (first, *others):
        each.note(8)
    assert first.room() == AHEAD
    assert Spread(shared, 1, 3).room() == 8 + AHEAD
    assert first.room() == 0
    assert shared.stat().st_size == PAGE_BYTES
    assert shared.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def two(tmp_path: Path, gatekeeper: FakeGatekeeper, shared: Path) -> Iterator[list[RunningProxy]]:
    """Two workers on one socket."""
    running: list[RunningProxy] = []
    for index in range(2):
        spread = Spread(shared, index, 2, PAUSE_S)
        beside = running[0] if running else None
        running.append(RunningProxy(tmp_path / "state", gatekeeper, beside=beside, spread=spread))
    yield running
    for proxy in running:
        proxy.close()


def _connect(stack: contextlib.ExitStack, port: int) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))


def _settled(two: list[RunningProxy], count: int) -> list[int]:
    waiting = threading.Event()
    for _ in range(1200):
        found = [proxy.worker.listener.open_connections for proxy in two]
        if sum(found) == count:
            return found
        waiting.wait(0.05)
    raise AssertionError(f"{found} are connected, not {count}")


def test_a_burst_of_connections_is_shared(two):
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            _connect(stack, two[0].port)
        assert min(_settled(two, CLIENTS)) >= CLIENTS // 3
    _settled(two, 0)


def test_a_worker_that_is_ahead_takes_no_more_until_it_stops(tmp_path, gatekeeper, shared):
    proxy = RunningProxy(tmp_path / "state", gatekeeper, spread=Spread(shared, 0, 2, pause_s=3600))
    try:
        with contextlib.ExitStack() as stack:
            *_, last = [_connect(stack, proxy.port) for _ in range(3 * AHEAD)]
            _settled([proxy], AHEAD)
            proxy.call(asyncio.sleep(0.05))  # turns of its loop, in which it would have taken the others
            _settled([proxy], AHEAD)
            stopping = proxy._thread.submit(proxy.worker.listener.drain(30))
            last.sendall(b"GET http://secondlook.internal/healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert last.recv(5) == b"HTTP/", "who is connected by then is served"
        stopping.result(30)
        _settled([proxy], 0)
    finally:
        proxy.close()


def test_where_the_others_do_not_accept_one_takes_all(two):
    two[1].call(two[1].worker.listener.drain(0.0))
    with contextlib.ExitStack() as stack:
        for _ in range(3 * AHEAD):
            _connect(stack, two[0].port)
        assert _settled(two, 3 * AHEAD) == [3 * AHEAD, 0]
