"""Counts of a feed: what was accepted, taken back, rejected and declared."""

import pytest

from secondlook.feeds.entries.entry import Entry, EntryKind, FeedRefused, RejectClass
from secondlook.feeds.entries.tally import MAX_KEPT_REJECTS, MAX_REJECT_CHARS, Tally

HOST = Entry(b"h" * 32, "evil.example/", EntryKind.HOST)


def test_an_entry_is_counted_by_its_kind_and_an_exception_apart():
    tally = Tally()
    assert tally.settle(1, HOST, "evil.example") is HOST
    assert tally.settled(2, HOST._replace(exception=True), "@@evil.example") != ()
    assert (tally.accepted[EntryKind.HOST], tally.exceptions) == (1, 1)


def test_a_reject_gives_no_entry_and_keeps_its_place():
    tally = Tally()
    tally.begin("member.txt")
    assert tally.settled(7, RejectClass.LOCAL, "x" * (MAX_REJECT_CHARS + 1)) == ()
    assert tally.rejects == [(7, RejectClass.LOCAL, "x" * MAX_REJECT_CHARS, "member.txt")]


def test_all_rejects_are_counted_and_the_first_kept():
    tally = Tally()
    for line in range(MAX_KEPT_REJECTS + 1):
        tally.reject(line, RejectClass.LOCAL, "")
    assert (tally.rejected[RejectClass.LOCAL], len(tally.rejects)) == (MAX_KEPT_REJECTS + 1, MAX_KEPT_REJECTS)


def test_what_is_taken_back_is_a_reject_of_the_line_it_came_from():
    tally = Tally()
    tally.settle(3, HOST, "evil.example")
    tally.take_back(HOST, RejectClass.EXCEPTED)
    assert tally.accepted[EntryKind.HOST] == 0
    assert [(reject.line, reject.cls) for reject in tally.rejects] == [(3, RejectClass.EXCEPTED)]


@pytest.mark.parametrize(("rows", "refused"), [(2, True), (3, False), (4, False)])
def test_a_file_with_fewer_rows_than_it_declares_is_cut(rows, refused):
    tally = Tally()
    tally.rows = 10  # of the file before
    tally.begin("second")
    tally.declared = 3
    tally.rows += rows
    if refused:
        with pytest.raises(FeedRefused, match="declares 3 entries and holds 2"):
            tally.check_declared()
    else:
        tally.check_declared()


def test_a_file_of_which_its_exceptions_leave_nothing_is_refused():
    tally = Tally()
    tally.demand_something("plain", excepted=4, left=1)
    with pytest.raises(FeedRefused, match=f"4 {RejectClass.EXCEPTED}"):
        tally.demand_something("plain", excepted=4, left=0)


def test_why_nothing_can_be_used_is_named_by_the_most_common():
    tally = Tally()
    tally.rows = 3
    tally.rejected.update({RejectClass.NOT_UNDERSTOOD: 3})
    assert tally.nothing("plain") == "not understood: none of 3 rows is an entry of plain"
    tally.rejected.update({RejectClass.LOCAL: 9})
    tally.exceptions = 2
    assert f"9 {RejectClass.LOCAL}, 3 {RejectClass.NOT_UNDERSTOOD}, 2 exceptions" in tally.nothing("plain")
