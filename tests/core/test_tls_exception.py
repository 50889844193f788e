import pytest

from secondlook.core.event import Event, EventKind
from secondlook.core.tls_exception import PASSTHROUGH, Lasting, passages

LASTING = Lasting(learned_s=150.0, excepted_s=20.0)


def event(
    time, client="10.0.0.1", host="pinned.example", stage=PASSTHROUGH, kind=EventKind.ACTION, user=None
):
    return Event(id=str(time), kind=kind, time=time, client=client, user=user, host=host, stage=stage)


def in_force(events, now, lasting=LASTING):
    return [(each.client, each.user, each.since, each.until) for each in passages(events, lasting, now)]


def test_the_last_event_of_each_client_and_host_counts_until_its_end():
    events = [event(300.0), event(100.0), event(150.0, client="10.0.0.2"), event(50.0, host="over.example")]
    assert in_force(events, now=299.0) == [("10.0.0.2", None, 150.0, 300.0), ("10.0.0.1", None, 300.0, 450.0)]
    assert in_force(events, now=450.0) == []


def test_what_a_client_lets_pass_has_an_end_of_its_own_and_is_a_users():
    made = [event(300.0, kind=EventKind.OVERRIDDEN, user=user) for user in (None, "anna")]
    assert in_force([event(300.0), *made], now=319.0) == [
        ("10.0.0.1", None, 300.0, 320.0),
        ("10.0.0.1", "anna", 300.0, 320.0),
        ("10.0.0.1", None, 300.0, 450.0),
    ]


@pytest.mark.parametrize("kind", [EventKind.ACTION, EventKind.OVERRIDDEN])
def test_what_is_switched_off_now_is_not_in_force(kind):
    assert in_force([event(300.0, kind=kind)], now=300.0, lasting=Lasting()) == []


def test_other_events_and_what_names_nobody_are_none():
    for each in (
        event(1.0, stage=None),
        event(1.0, client=None),
        event(1.0, host=None),
        event(1.0, kind=EventKind.ERROR),
    ):
        assert in_force([each], 2.0) == []
