"""The record of what was changed on a computer: nothing is forgotten, and what was there first stays known."""

import pytest

from secondlook.setup.journal import Change, Journal, JournalError, Outcome

TRUST, PROXY = Change("ca", "store", {"was": 0}, {"is": 1}), Change("proxy", "desktop")


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "state")
    journal.add(TRUST)
    journal.add(PROXY)
    return journal


def test_a_later_change_of_the_same_keeps_what_was_there_first(journal):
    journal.add(Change("proxy", "desktop", {"was": 1}, {"is": 2}))
    assert journal.changes() == [TRUST, Change("proxy", "desktop", PROXY.before, {"is": 2})]


def test_another_authority_in_the_same_store_is_a_change_of_its_own(journal):
    journal.add(Change("ca", "store", {"was": 1}, {"is": 2}))
    journal.add(Change("ca", "store", {"was": 3}, {"is": 1}))
    assert journal.changes() == [TRUST, PROXY, Change("ca", "store", {"was": 1}, {"is": 2})]


def test_what_could_not_be_undone_stays_on_record(journal, tmp_path):
    undone = []

    def undo(change):
        undone.append(change.kind)
        return Outcome(change.kind == "proxy", change.kind)

    kinds = frozenset({"ca", "proxy"})
    assert [each.done for each in journal.undo({"ca": undo, "proxy": undo}, kinds)] == [True, False]
    assert undone == ["proxy", "ca"]  # the newest first
    assert Journal(tmp_path / "state").changes() == [TRUST]
    assert journal.undo({"ca": undo}, frozenset({"startup"})) == []


@pytest.mark.parametrize("damage", ["{", "[" * 100_000, "7", '[{"kind": "ca"}]'])
def test_a_damaged_record_is_reported_and_not_written_over(journal, tmp_path, damage):
    (path := tmp_path / "state" / "setup.json").write_text(damage)
    assert not journal.has("ca")
    for reads in (journal.changes, lambda: journal.add(PROXY)):
        with pytest.raises(JournalError, match="is damaged, so what was set up here is not known"):
            reads()
    assert path.read_text() == damage


def test_without_a_record_nothing_was_changed(journal, tmp_path):
    assert journal.has("ca")
    assert Journal(tmp_path / "other").changes() == []
    assert not Journal(tmp_path / "other").has("ca")
