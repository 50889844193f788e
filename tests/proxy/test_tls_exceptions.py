"""TLS that is passed through for a while: for whom, until when, and what it ends."""

from types import SimpleNamespace

import pytest
from mitmproxy import ctx
from mitmproxy.test.tflow import tclient_conn

from secondlook.core.event import Event, EventKind
from secondlook.core.tls_exception import PASSTHROUGH, Lasting
from secondlook.proxy.access.tls_exceptions import Passages

START = 1_790_000_000.0
LASTING = Lasting(learned_s=3600.0, excepted_s=600.0)


class Clock:
    now_s = START

    def now(self) -> float:
        return self.now_s


def _event(
    kind: EventKind, *, client: str | None = "a", user: str | None = None, time: float = START
) -> Event:
    return Event(
        kind=kind, time=time, id="E1", client=client, user=user, host="pinned.test", stage=PASSTHROUGH
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passages(clock: Clock) -> Passages:
    return Passages(LASTING, None, clock)  # type: ignore[arg-type]


def test_what_was_learned_holds_for_a_client_whoever_it_is_until_its_end(passages, clock):
    assert not passages.passes("a", None, "pinned.test")
    passages.take(_event(EventKind.ACTION))
    assert passages.passes("a", None, "pinned.test")
    assert passages.passes("a", "ann", "pinned.test")
    assert not passages.passes("b", None, "pinned.test")
    assert not passages.passes("a", None, "www.pinned.test")
    clock.now_s += 3599.9
    assert passages.passes("a", None, "pinned.test")
    clock.now_s += 0.1
    assert not passages.passes("a", None, "pinned.test")


def test_what_somebody_let_pass_holds_for_that_user_alone(passages, clock):
    passages.take(_event(EventKind.OVERRIDDEN, user="ann"))
    assert passages.passes("a", "ann", "pinned.test")
    assert not passages.passes("a", "bob", "pinned.test")
    assert not passages.passes("a", None, "pinned.test")
    clock.now_s += 600.0
    assert not passages.passes("a", "ann", "pinned.test")


@pytest.mark.parametrize(
    "event",
    [
        _event(EventKind.ACTION, time=START - 3600.0),
        _event(EventKind.ACTION, client=None),
        _event(EventKind.BLOCKED),
        Event(kind=EventKind.ACTION, time=START, id="E1", client="a", host="pinned.test", stage="other"),
    ],
    ids=["over", "nobody's", "another kind", "of another stage"],
)
def test_what_is_no_passage_opens_none(passages, event):
    passages.take(event)
    assert not passages.passes("a", None, "pinned.test")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were ended, by their ids."""
    found: list[str] = []

    class Connections(dict):
        def get(self, connection: str, _: object = None) -> SimpleNamespace:
            client = object()
            io = SimpleNamespace(handler=SimpleNamespace(cancel=lambda _: found.append(connection)))
            return SimpleNamespace(client=client, transports={client: io})

    addons = {"proxyserver": SimpleNamespace(connections=Connections())}
    monkeypatch.setattr(ctx, "master", SimpleNamespace(addons=addons), raising=False)
    return found


def test_an_exception_ends_the_connections_that_were_opened_for_it_and_no_other(passages, ended):
    first, second, other = tclient_conn(), tclient_conn(), tclient_conn()
    first.id, second.id, other.id = "first", "second", "other"
    passages.opened(first, "a", "ann", "pinned.test")
    passages.opened(second, "a", "ann", "else.test")
    passages.opened(other, "a", "bob", "pinned.test")
    passages.take(_event(EventKind.ACTION))
    assert ended == [], "a program that refuses our certificate keeps no connection"
    passages.take(_event(EventKind.OVERRIDDEN, user="ann"))
    passages.take(_event(EventKind.OVERRIDDEN, user="ann"))
    assert ended == ["first"]


def test_where_nobody_may_except_anything_nothing_is_remembered(clock, ended):
    passages = Passages(Lasting(learned_s=3600.0), None, clock)  # type: ignore[arg-type]
    passages.opened(tclient_conn(), "a", None, "pinned.test")
    passages.take(_event(EventKind.OVERRIDDEN))
    assert ended == []
    assert not passages.passes("a", None, "pinned.test")
