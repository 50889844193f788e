"""What cannot be read is told once a minute, with how often it came."""

from secondlook.gateway.complaints import QUIET_S, Complaints


def test_complaints_are_counted_between_two_events():
    now, events = [100.0], []
    complain = Complaints(events.append, "nothing to read", lambda: now[0])
    for _ in range(3):
        complain("why")
    now[0] += QUIET_S
    complain("why")
    assert [event.detail.partition(": ")[2] for event in events] == [
        "why",
        "why; 2 more since the last report",
    ]
    now[0] = 50.0  # the clock was set back: the minute is over
    complain("again")
    assert len(events) == 3
