from secondlook.core.event import Event, EventKind
from secondlook.core.passage import PASSTHROUGH, Passage, passages


def event(time, client="10.0.0.1", host="pinned.example", stage=PASSTHROUGH):
    return Event(id=str(time), kind=EventKind.ACTION, time=time, client=client, host=host, stage=stage)


def test_the_last_lesson_of_each_client_and_host_counts_until_its_end():
    events = [event(300.0), event(100.0), event(150.0, client="10.0.0.2"), event(50.0, host="over.example")]
    assert passages(events, 150.0, now=299.0) == [
        Passage("10.0.0.2", "pinned.example", 150.0, 300.0),
        Passage("10.0.0.1", "pinned.example", 300.0, 450.0),
    ]
    assert passages(events, 150.0, now=450.0) == []


def test_other_actions_and_what_names_nobody_are_no_lesson():
    assert passages([event(1.0, stage=None), event(1.0, client=None), event(1.0, host=None)], 9.0, 2.0) == []
