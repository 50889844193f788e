"""A fetch of what is known to be good: taken whole, or the last good one stays."""

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server.feeds.known_good import take_guard
from secondlook.server.store.store import GUARD_FOLDER, ServerStore


@pytest.fixture
def store(tmp_path):
    return ServerStore(tmp_path)


def test_its_hosts_are_a_file_of_lines(store):
    report = take_guard(store, [b"1,good.example\n2,fine.ex", b"ample\n"], name="top")
    assert (store.root / GUARD_FOLDER / "top.txt").read_text() == "good.example\nfine.example\n"
    assert (report.accepted, report.distinct, report.refused) == (2, 2, None)


@pytest.mark.parametrize(("rank", "hosts"), [(1, 1), (2, 2), (None, 3)])
def test_no_more_of_them_than_wanted(store, rank, hosts):
    report = take_guard(store, [b"1,a.example\n2,b.example\n3,c.example\n"], name="top", rank=rank)
    assert report.accepted == hosts


def test_a_refused_one_leaves_the_last_good_one(store):
    take_guard(store, [b"1,good.example\n"], name="top")
    report = take_guard(store, [b"<!DOCTYPE html><html>sign in</html>"], name="top")
    assert report.refused
    assert (store.root / GUARD_FOLDER / "top.txt").read_text() == "good.example\n"


def test_where_it_cannot_be_written_is_reported(store):
    (store.root / GUARD_FOLDER).write_text("in the way")
    with pytest.raises(PatternError, match="cannot write"):
        take_guard(store, [b"1,good.example\n"], name="top")
