"""A turn of the loop takes up what it has time for, each client in turn; silent clients cost a socket."""

import contextlib
import gc
import selectors
import socket
import sys
import weakref
from collections.abc import Iterator

import pytest

from secondlook.proxy.mitm.transport.fair_selector import ALONE, LEAST, TOGETHER, FairSelector

DEAR_S = TOGETHER.part_s / LEAST
CHEAP = 40  # sockets that a turn has time for
CHEAP_S = TOGETHER.too_long_s / CHEAP


class Scene:
    """A selector whose sockets cost what we say, and sockets that are ready until they are read."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.now_s = 0.0
        self.selector = FairSelector(lambda: self.now_s)
        stack.callback(self.selector.close)

    def ready(self, client: str | None) -> socket.socket:
        """Make a socket of a client (None: nobody's) that has something to read."""
        ours, theirs = (self._stack.enter_context(end) for end in socket.socketpair())
        theirs.sendall(b"x")
        self.selector.register(ours, selectors.EVENT_READ)
        if client is not None:
            self.selector.assign(ours.fileno(), client)
        return ours

    def turn(self, cost_s: float = DEAR_S, *, leave: bool = False) -> list[socket.socket]:
        """Take a turn in which each socket costs so much; what is read has nothing left."""
        given = [key.fileobj for key, _ in self.selector.select(0)]
        for sock in given:
            assert isinstance(sock, socket.socket)
            self.now_s += cost_s
            if not leave:
                sock.recv(10)
        return given

    def warm(self, cost_s: float = DEAR_S) -> None:
        """Let the selector learn what sockets cost; two clients are there, who say no more."""
        self.ready("192.0.2.249")
        for _ in range(30):
            self.ready("192.0.2.250")
            assert self.turn(cost_s)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(stack)


def test_what_is_done_soon_enough_is_all_taken_up(scene):
    scene.warm(CHEAP_S)
    socks = [scene.ready("192.0.2.1") for _ in range(CHEAP)]
    assert set(scene.turn(CHEAP_S)) == set(socks)
    for _ in range(CHEAP + 2):
        scene.ready("192.0.2.1")
    assert len(scene.turn(CHEAP_S)) < CHEAP


def test_one_client_alone_has_longer_turns(scene):
    alone_s = ALONE.too_long_s / CHEAP
    for _ in range(30):
        scene.ready("192.0.2.1")
        assert len(scene.turn(alone_s)) == 1
    for _ in range(CHEAP):
        scene.ready("192.0.2.1")
    assert len(scene.turn(alone_s, leave=True)) == CHEAP
    scene.ready("192.0.2.2")
    assert len(scene.turn(alone_s)) < CHEAP


def test_of_dear_ones_a_turn_takes_few_and_each_has_its_turn(scene):
    scene.warm()
    socks = [scene.ready("192.0.2.1") for _ in range(5 * LEAST)]
    turns = [scene.turn() for _ in range(5)]
    assert [len(turn) for turn in turns[:2]] == [LEAST] * 2
    assert sorted(id(sock) for turn in turns for sock in turn) == sorted(map(id, socks))


def test_another_client_waits_for_nobody_elses_queue(scene):
    scene.warm()
    for _ in range(40):
        scene.ready("192.0.2.1")
    scene.turn()
    other = scene.ready("192.0.2.2")
    assert other in scene.turn()


def test_of_ipv6_a_network_is_one_client(scene):
    scene.warm()
    for number in range(40):
        scene.ready(f"2001:db8::{number:x}")
    other = scene.ready("2001:db8:0:1::1")
    assert other in scene.turn()


def test_a_settled_connection_does_not_wait_behind_the_new_ones_of_its_client(scene):
    scene.warm()
    settled = scene.ready("192.0.2.1")
    others = [scene.ready("192.0.2.2") for _ in range(40)]
    for _ in range(4):
        assert settled in scene.turn(leave=True)
    for sock in others:
        sock.recv(10)
    for _ in range(40):
        scene.ready("192.0.2.1")
    for _ in range(3):
        assert settled in scene.turn(leave=True)


def test_what_always_has_something_keeps_nobody_away(scene):
    scene.warm()
    for _ in range(2 * LEAST):
        scene.ready("192.0.2.1")
    seen: set[socket.socket] = set()
    for _ in range(2):
        seen |= set(scene.turn(leave=True))
    assert len(seen) == 2 * LEAST


def test_of_many_clients_each_has_its_turn(scene):
    scene.warm()
    socks = [scene.ready(f"192.0.2.{number}") for number in range(4 * LEAST)]
    seen = [sock for _ in range(4) for sock in scene.turn(leave=True)]
    assert sorted(map(id, seen)) == sorted(map(id, socks))


def test_what_is_nobodys_never_waits(scene):
    scene.warm()
    for _ in range(40):
        scene.ready("192.0.2.1")
    own = {scene.ready(None) for _ in range(LEAST + 1)}
    assert own <= set(scene.turn())


def test_a_number_that_is_anothers_by_now_is_not_forgotten(scene):
    scene.warm()
    sock = scene.ready(None)
    forget = scene.selector.assign(sock.fileno(), "192.0.2.1")
    scene.selector.assign(sock.fileno(), "192.0.2.2")
    forget()
    for _ in range(40):
        scene.ready("192.0.2.1")
    first = scene.ready("192.0.2.2")
    taken = scene.turn()
    assert sock in taken, "it waited longest of its client"
    assert first not in taken


class Ring:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.own = self


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="collects in small steps itself")
@pytest.mark.parametrize("busy", [False, True])
def test_garbage_is_looked_through_while_nobody_wants_anything(scene, busy):
    gc.collect()
    ring = Ring()
    for _ in range(4):
        gc.collect(1)  # it is old now
    left = weakref.ref(ring)
    del ring
    if busy:
        scene.ready("192.0.2.1")
    assert bool(scene.selector.select(10)) == busy
    assert (left() is not None) == busy
