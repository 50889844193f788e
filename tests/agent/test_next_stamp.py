"""What is in force after a look at a server."""

from dataclasses import replace
from typing import Any

import pytest

from agentkit.stamps import put_list, server
from secondlook.agent.pattern.files import LATELY_S, Stamp
from secondlook.agent.pattern.list_update import TakenList
from secondlook.agent.pattern.next_stamp import next_stamp
from secondlook.agent.pattern.source import UpdateSource, Wanted
from secondlook.core.answer import Tier
from secondlook.core.lists.name import parse_list_name

NOBODY: Any = None  # is asked here
SPARE = UpdateSource(name="spare", tier=Tier.INTRANET, client=NOBODY, fresh_for_s=5.0)


@pytest.fixture
def stamp(tmp_path):
    """Two lists of a server that is away by now, and one of another tier."""
    first = put_list(tmp_path, hashes=[b"1" * 32])
    second = replace(first, name="se-8b")
    own = replace(first, tier="local", server="embedded")
    servers = (server(), replace(server(), server="embedded", tier="local"))
    return Stamp(lists=(first, second, own), servers=servers, held={"spare/mw-8b": "01", "spare/se-8b": "02"})


def after(stamp, *, about=("mw-8b", "se-8b"), taken=(), refused=()):
    return next_stamp(
        stamp,
        SPARE,
        "7",
        5.0,
        about={name: Wanted(meaning) for name in about if (meaning := parse_list_name(name))},
        taken={
            name: TakenList(f"{name}.slh", 2, "ab", b"v", changed=True, added=1, removed=3) for name in taken
        },
        refused=dict.fromkeys(refused, "why"),
    )


def lists(stamp):
    return {(each.tier, each.name): each.server for each in stamp.lists}


def test_lists_that_are_all_good_are_whole_and_of_their_server(stamp):
    found, news = after(stamp, taken=["mw-8b", "se-8b"])
    assert lists(found) == {
        ("local", "mw-8b"): "embedded", ("intranet", "mw-8b"): "spare", ("intranet", "se-8b"): "spare"
    }  # fmt: skip
    assert {
        each.server: (each.generation, each.whole) for each in found.servers if each.tier == "intranet"
    } == {"spare": ("7", True)}
    assert [each.server for each in found.servers] == ["embedded", "spare"]
    assert news == [("mw-8b", "2 entries (+1 -3)"), ("se-8b", "2 entries (+1 -3)")]
    assert found.held == {}


def test_what_was_refused_stays_and_is_asked_for_again(stamp):
    found, _ = after(stamp, about=["mw-8b"], taken=["mw-8b"], refused=["se-8b"])
    assert lists(found)["intranet", "mw-8b"] == "spare"
    assert lists(found)["intranet", "se-8b"] == stamp.lists[1].server
    assert (found.servers[-1].generation, found.servers[-1].whole) == ("", False)
    assert found.held == {"spare/se-8b": "02"}


def test_what_an_operator_gave_up_stays_out_and_what_is_named_no_more_goes(stamp):
    found, news = after(stamp, about=["mw-8b"])
    assert set(lists(found)) == {("local", "mw-8b"), ("intranet", "mw-8b")}
    assert (found.servers[-1].generation, found.servers[-1].whole) == ("7", False)
    assert news == [("se-8b", "given up, as the server has it no more (-1)")]


def test_what_a_list_had_before_is_noted_for_a_while(stamp):
    first, _, own = stamp.lists
    named = parse_list_name("mw-8b")
    assert named is not None
    meaning = Wanted(named)

    def taken(stamp, count, most, now):
        found = TakenList("mw-8b.slh", count, "ab", b"v", changed=True, most=most)
        about = {"mw-8b": meaning}
        after, _ = next_stamp(stamp, SPARE, "7", now, about=about, taken={"mw-8b": found}, refused={})
        [each] = [each for each in after.lists if each.tier == "intranet"]
        return after, (each.count, each.most, each.most_at)

    stamp = replace(stamp, lists=(replace(first, count=100), own))
    stamp, noted = taken(stamp, 60, 100, 10.0)
    assert noted == (60, 100, 10.0)
    stamp, noted = taken(stamp, 55, 100, 20.0)
    assert noted == (55, 100, 10.0), "since the last time that it had them"
    [each] = [each for each in stamp.lists if each.tier == "intranet"]
    assert each.most_lately(10.0 + LATELY_S) == 100
    assert each.most_lately(10.1 + LATELY_S) == 55
    assert Stamp.from_json(stamp.to_json()) == stamp
    assert taken(stamp, 110, 100, 30.0)[1] == (110, 0, 0.0)
    assert taken(stamp, 5, 0, 30.0)[1] == (5, 0, 0.0), "somebody meant that"
