"""The other servers of a tier: reported only when they differ twice running, by lists that can be compared."""

import asyncio

import pytest

from agentkit.virtual import StillClock
from secondlook.agent.pattern.alerts import PatternAlerts
from secondlook.agent.pattern.files import Stamp, StampedList
from secondlook.agent.pattern.members import MOST_NAMED, Members
from secondlook.core.event import EventKind
from secondlook.wire import safebrowsing_pb2 as pb


class Events(list):
    def record(self, event):
        self.append(event)

    def amend(self, event_id, **fields):
        raise AssertionError("nothing to amend")


class Server:
    """What another member says it has."""

    def __init__(self, lists, *, generation="1"):
        self.lists = lists
        self.served = generation

    async def hash_lists(self):
        described = []
        for name, (checksum, complete) in self.lists.items():
            each = pb.HashList(name=name, sha256_checksum=checksum)
            each.metadata.complete = complete
            described.append(each)
        return described

    async def generation(self):
        return self.served


def stamp(**checksums):
    return Stamp(
        lists=tuple(
            StampedList(
                name=name.replace("_", "-"), file="", width=8, count=1, sha256=checksum.hex(), tier="intranet",
                server="office", source="office", version="", generation="1", confirmed_at=0.0, verified_at=0.0,
            )
            for name, checksum in checksums.items()
        )
    )  # fmt: skip


OURS = stamp(mw_8b=b"a", se_8b=b"b")
EQUAL = {"mw-8b": (b"a", True), "se-8b": (b"b", True)}


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def members(tmp_path, events):
    return Members(PatternAlerts(tmp_path, events, StillClock()))


def compare(members, server, ours=OURS, name="spare"):
    asyncio.run(members.compare(name, server, ours, "office"))
    return dict(members._alerts.in_force)


def test_an_equal_one_is_no_news(members):
    assert compare(members, Server(EQUAL)) == {}
    assert not members.is_suspected("spare")


def test_who_differs_twice_running_is_reported_until_it_is_equal(members, events):
    other = Server(EQUAL | {"mw-8b": (b"x", True)})
    assert compare(members, other) == {}
    assert members.is_suspected("spare")
    alerts = compare(members, other)
    assert list(alerts) == ["differs spare"]
    assert "the lists of spare differ from those of office, which are used: mw-8b" in alerts["differs spare"]
    assert not members.is_suspected("spare"), "it is known by now"
    assert compare(members, Server(EQUAL)) == {}
    assert [event.kind for event in events] == [EventKind.ERROR, EventKind.UPDATE]


def test_another_difference_each_time_is_a_server_in_motion(members):
    assert compare(members, Server(EQUAL | {"mw-8b": (b"x", True)})) == {}
    assert compare(members, Server(EQUAL | {"se-8b": (b"x", True)})) == {}
    assert compare(members, Server(EQUAL | {"se-8b": (b"x", True)})) != {}


@pytest.mark.parametrize("lists", [{"mw-8b": (b"a", True)}, EQUAL | {"uws-8b": (b"u", True)}])
def test_a_list_that_only_one_has_is_a_difference(members, lists):
    compare(members, Server(lists))
    assert compare(members, Server(lists)) != {}


@pytest.mark.parametrize(
    "extra", [{"mw-4b": (b"x", True)}, {"uws-8b": (b"x", False)}, {"what-is-this": (b"x", True)}]
)
def test_what_is_derived_incomplete_or_unknown_is_not_compared(members, extra):
    for _ in range(2):
        assert compare(members, Server(EQUAL | extra)) == {}
    assert not members.is_suspected("spare")


def test_nothing_published_yet_is_no_difference_and_nothing_at_all_is_one(members):
    for _ in range(2):
        assert compare(members, Server({}, generation=None)) == {}
    for _ in range(2):
        alerts = compare(members, Server({}, generation="2"))
    assert alerts


def test_where_nothing_of_the_used_server_is_here_nothing_is_compared(members):
    for _ in range(2):
        assert compare(members, Server({}), Stamp()) == {}


def test_many_differences_are_named_in_part(members):
    names = [f"{kind}-8b" for kind in ("mw", "se", "uws", "mw-s", "se-s", "mw-hs")]
    lists = dict.fromkeys(names, (b"x", True))
    ours = stamp(**{name.replace("-", "_"): b"a" for name in names})
    compare(members, Server(lists), ours)
    [text] = compare(members, Server(lists), ours).values()
    assert text.count(",") == MOST_NAMED
    assert text.endswith(" …")


def test_who_is_a_member_no_more_is_forgotten(members):
    other = Server({})
    for name in ("spare", "gone"):
        for _ in range(2):
            compare(members, other, name=name)
    members.keep({"spare"})
    assert list(members._alerts.in_force) == ["differs spare"]
