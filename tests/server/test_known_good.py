"""A fetch of what is known to be good: taken whole, or the last good one stays."""

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server.feeds.known_good import keep_own_hosts, take_guard
from secondlook.server.store.store import GUARD_FOLDER, OWED, ServerStore
from serverkit import out, put


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


def test_no_list_blocks_the_operators_own_hosts_or_pages_of_their_servers(store):
    keep_own_hosts(store, ["lists.office.example/*", "feeds.example"])
    listed = (
        "lists.office.example", "office.example", "http://lists.office.example/v5/hashes:search",
        "feeds.example", "http://feeds.example/~evil/x.exe", "evil.office.example", "evil.example",
    )  # fmt: skip
    put(store, listed)
    report = out(store)
    held_back = {text for _, text in report.held_back_examples}
    assert held_back == {
        "lists.office.example/", "office.example/", "lists.office.example/v5/hashes:search", "feeds.example/",
    }  # fmt: skip
    assert report.lists["mw-8b"] == 3 + 1  # the canary


def test_a_publication_is_owed_where_the_own_hosts_are_others_than_before(store):
    def owed(*hosts):
        keep_own_hosts(store, hosts)
        is_owed = (store.root / OWED).exists()
        (store.root / OWED).unlink(missing_ok=True)
        return is_owed

    assert not owed("one.example")  # the first is to come anyway
    out(store)
    assert [owed("one.example"), owed("two.example"), owed(), owed()] == [False, True, True, False]
