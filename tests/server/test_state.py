"""How replication goes outlives a restart, and a publisher that went back stays known until it is ahead again."""

import pytest

from secondlook.server.replica.state import (
    STATE_FILE,
    ReplicationState,
    read_replication_state,
    write_replication_state,
)
from secondlook.server.store.store import ServerStore


@pytest.fixture
def store(tmp_path):
    return ServerStore(tmp_path)


@pytest.mark.parametrize("state", [ReplicationState(), ReplicationState("unreachable", (3, 5), 7.0)])
def test_it_is_read_as_it_was_written(store, state):
    write_replication_state(store, state)
    assert read_replication_state(store) == state


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"alert": null, "behind": 7}'])
def test_what_cannot_be_read_counts_as_none(store, content):
    if content is not None:
        (store.root / STATE_FILE).write_bytes(content)
    assert read_replication_state(store) == ReplicationState()


def test_a_publisher_is_behind_until_it_serves_as_much_as_ever():
    state = ReplicationState("unreachable")
    steps = []
    for before, number in ((None, 4), (4, 6), (6, 3), (3, 5), (5, 6), (6, 7)):
        state = state.seen(before, number)
        steps.append(state.behind)
    assert steps == [None, None, (3, 6), (5, 6), None, None]
    assert ReplicationState("no route", (3, 6)).lines == (
        "replication fails, what is here stays: no route",
        "the publisher went back to generation 3 from 6",
    )
    assert ReplicationState().lines == ()


def test_since_when_it_fails_is_known_until_it_works():
    state = ReplicationState().failed("no route", 1_700_000_000.0).failed("refused", 1_700_000_060.0)
    assert state.lines == ("replication fails since 2023-11-14T22:13:20.000Z, what is here stays: refused",)
    assert state.worked() == ReplicationState()


def test_what_an_older_replica_kept_is_read(store):
    (store.root / STATE_FILE).write_bytes(b'{"alert": "no route", "behind": [3, 5]}')
    assert read_replication_state(store) == ReplicationState("no route", (3, 5))
