"""Changing what is in force: one stamp after the other, and back."""

from dataclasses import replace

import pytest

from agentkit.stamps import put_list, server
from secondlook.agent.pattern.change import (
    forget_rollback,
    held_text,
    put_stamp,
    rollback,
    set_damaged_stamp_aside,
    status,
    verify,
)
from secondlook.agent.pattern.files import CONFIRMED, FOLDER, PAST, STAMP, Stamp, read_stamp
from secondlook.ground.errors import PatternError


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir()
    return folder


def put(folder, number, *, keep=14):
    """Put a stamp with a list of its own in force; gives it."""
    stamped = put_list(folder, hashes=[bytes([number]) * 32])
    file = f"mw-8b.{number:016x}.slh"
    (folder / stamped.file).rename(folder / file)
    stamped = replace(stamped, file=file, version=f"{number:02x}", generation=str(number))
    return put_stamp(folder, Stamp(lists=(stamped,), servers=(server(),)), now=float(number), keep=keep)


def lists(folder):
    return sorted(path.name for path in folder.glob("*.slh"))


def test_each_stamp_has_its_number_and_the_one_before_is_kept(folder):
    assert [put(folder, number).serial for number in (1, 2, 3)] == [1, 2, 3]
    assert [path.name for path in sorted((folder / PAST).iterdir())] == ["000001.json", "000002.json"]
    assert (read_stamp(folder).serial, read_stamp(folder).written_at) == (3, 3.0)
    assert len(lists(folder)) == 3


def test_only_so_many_are_kept_and_their_lists_with_them(folder):
    (folder / "mine.txt").write_text("not ours")
    (folder / "mine.slh").write_text("not ours")
    for number in range(1, 6):
        put(folder, number, keep=2)
    assert [path.name for path in sorted((folder / PAST).iterdir())] == ["000003.json", "000004.json"]
    assert lists(folder) == ["mine.slh"] + [f"mw-8b.{number:016x}.slh" for number in (3, 4, 5)]
    assert (folder / "mine.txt").exists()


def test_a_copy_beside_the_past_is_in_nobodys_way(folder):
    put(folder, 1)
    put(folder, 2)
    (folder / PAST / "000001 (copy).json").write_bytes((folder / PAST / "000001.json").read_bytes())
    assert put(folder, 3).serial == 3


def test_numbers_go_on_where_the_stamp_in_force_is_damaged(folder):
    put(folder, 1)
    put(folder, 2)
    (folder / STAMP).write_bytes(b"{")
    assert put(folder, 3).serial == 2
    (folder / PAST / "000009.json").write_bytes(b"{")
    assert put(folder, 4).serial == 10
    assert not (folder / PAST / "000009.json").exists(), "one that cannot be read keeps nothing"


def test_a_damaged_stamp_is_set_aside_and_a_good_one_stays(folder):
    assert set_damaged_stamp_aside(folder) is None
    put(folder, 1)
    assert set_damaged_stamp_aside(folder) is None
    (folder / STAMP).write_bytes(b"{")
    reason = set_damaged_stamp_aside(folder)
    assert reason is not None
    assert "cannot be read" in reason
    assert not (folder / STAMP).exists()
    assert (folder / f"{STAMP}.damaged").read_bytes() == b"{"


def test_whole_verification_names_what_is_damaged(folder):
    stamp = put(folder, 1)
    assert verify(folder.parent) == {}
    path = folder / stamp.lists[0].file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert list(verify(folder.parent)) == [*stamp.lists]


def test_a_list_has_to_hold_its_canary(folder):
    stamp = put(folder, 1)
    for canary, held in (("01" * 32, True), ("02" * 32, False)):
        with_canary = replace(stamp, lists=(replace(stamp.lists[0], canary=canary),))
        (folder / STAMP).write_bytes(with_canary.to_json())
        assert (verify(folder.parent) == {}) == held


def test_the_status_says_how_old_it_is(folder):
    assert status(folder.parent, now=10.0).entries == 0
    put(folder, 1)
    found = status(folder.parent, now=150.0)
    assert (found.generation, found.entries, found.lists[0].age_s) == ("1", 1, 50.0)
    (folder / CONFIRMED).write_text('{"office": 140.0}')
    assert status(folder.parent, now=150.0).lists[0].age_s == 10.0


def test_back_to_the_pattern_before_and_not_to_this_one_again(folder):
    put(folder, 1)
    put(folder, 2)
    put(folder, 2)  # another stamp with the same lists
    restored = rollback(folder.parent, now=9.0, keep=14)
    assert restored.lists[0].version == "01"
    assert restored.held == {"office/mw-8b": "02"}
    assert (restored.servers[0].whole, restored.servers[0].generation) == (False, "")
    assert read_stamp(folder) == restored


def test_back_again_is_further_back_and_what_was_given_up_first_stays_away(folder):
    for number in (1, 2, 3, 4):
        put(folder, number)
    went = [rollback(folder.parent, now=9.0, keep=14) for _ in range(3)]
    assert [stamp.lists[0].version for stamp in went] == ["03", "02", "01"]
    assert [stamp.held for stamp in went] == [{"office/mw-8b": "04"}] * 3, "which is what the server has"
    with pytest.raises(PatternError, match="no earlier pattern"):
        rollback(folder.parent, now=9.0, keep=14)


def test_a_rollback_is_told_until_it_is_forgotten(folder):
    for number in (1, 2):
        put(folder, number)
    assert status(folder.parent, now=3.0).alerts == ()
    restored = rollback(folder.parent, now=9.0, keep=14)
    told = held_text(restored)
    assert told is not None
    assert "(mw-8b of office)" in told
    named = held_text(restored, {"mw-8b": "URLhaus (malware)"}.__getitem__)
    assert named is not None
    assert "(URLhaus (malware) of office)" in named
    assert status(folder.parent, now=9.0).alerts == (told,)
    assert forget_rollback(folder.parent, now=10.0, keep=14)
    assert status(folder.parent, now=10.0).alerts == ()
    assert read_stamp(folder).lists == restored.lists
    assert not forget_rollback(folder.parent, now=11.0, keep=14)


def test_back_past_what_is_damaged(folder):
    for number in (1, 2, 3):
        put(folder, number)
    (folder / f"mw-8b.{2:016x}.slh").write_bytes(b"damaged")
    (folder / PAST / "000009.json").write_bytes(b"{")
    assert rollback(folder.parent, now=9.0, keep=14).lists[0].version == "01"


def test_where_there_is_nothing_to_go_back_to_nothing_changes(folder):
    with pytest.raises(PatternError, match="no pattern to roll back"):
        rollback(folder.parent, now=9.0, keep=14)
    put(folder, 1)
    before = (folder / STAMP).read_bytes()
    with pytest.raises(PatternError, match="no earlier pattern"):
        rollback(folder.parent, now=9.0, keep=14)
    assert (folder / STAMP).read_bytes() == before
