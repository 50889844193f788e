"""Files that others swap, link or write while they are put away."""

import asyncio
import os
import stat
import subprocess
import sys

import pytest

from agentkit.quarantining import BAD, DIGEST, entry
from secondlook.agent.actions import file_search
from secondlook.agent.actions import quarantine as module
from secondlook.agent.actions.file_move import put_away


def test_a_symbolic_link_is_not_followed(place):
    outside = place.base / "outside.exe"
    outside.write_bytes(BAD)
    (place.downloads / "link.exe").symlink_to(outside)
    (place.downloads / "linked-folder").symlink_to(place.base)
    (outcome,) = place.act()
    assert not outcome.done
    assert outside.read_bytes() == BAD
    assert (place.downloads / "link.exe").is_symlink()


def test_a_name_that_became_a_link_since_it_was_listed_is_not_followed(place):
    elsewhere = place.base / "elsewhere.exe"
    elsewhere.write_bytes(BAD)
    name = place.downloads / "bad.exe"
    name.symlink_to(elsewhere)
    problems = []
    assert file_search.look_at(name, DIGEST, None, problems) is None
    assert len(problems) == 1


def test_a_hard_link_loses_the_found_name_and_the_other_is_reported(place):
    bad = place.put()
    outside = place.base / "outside.exe"
    os.link(bad, outside)
    (outcome,) = place.act()
    assert outcome.done
    assert "1 further name (hard link)" in outcome.detail
    assert not bad.exists()
    assert outside.read_bytes() == BAD
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755  # the other name is not ours to change
    assert (place.store / DIGEST.hex()).stat().st_nlink == 1


def test_a_file_swapped_between_hashing_and_moving_is_put_back(place, monkeypatch):
    bad = place.put()

    def swap_first(candidate, folder, record):
        bad.rename(place.downloads / "moved-away.exe")
        bad.write_bytes(b"an innocent file")
        return put_away(candidate, folder, record)

    monkeypatch.setattr(module, "put_away", swap_first)
    (outcome,) = place.act()
    assert not outcome.done
    assert "another file stands under its name" in outcome.detail
    assert bad.read_bytes() == b"an innocent file"
    assert place.stored() == []
    assert {record.state for record in place.ledger.records.values()} == {"failed"}


@pytest.mark.parametrize("kind", ["symlink", "folder", "gone"])
def test_a_name_swapped_for_something_else_is_put_back(place, monkeypatch, kind):
    bad = place.put()

    def swap_first(candidate, folder, record):
        bad.unlink()
        if kind == "symlink":
            bad.symlink_to("/etc/hostname")
        elif kind == "folder":
            bad.mkdir()
            (bad / "inside").write_text("kept")
        return put_away(candidate, folder, record)

    monkeypatch.setattr(module, "put_away", swap_first)
    (outcome,) = place.act()
    assert not outcome.done
    if kind == "symlink":
        assert bad.is_symlink()
    elif kind == "folder":
        assert (bad / "inside").read_text() == "kept"
    assert place.stored() == []


def test_a_file_changed_between_hashing_and_moving_is_put_back(place, monkeypatch):
    bad = place.put()

    def change_first(candidate, folder, record):
        bad.write_bytes(b"rewritten in place")
        return put_away(candidate, folder, record)

    monkeypatch.setattr(module, "put_away", change_first)
    (outcome,) = place.act()
    assert not outcome.done
    assert "changed" in outcome.detail
    assert bad.read_bytes() == b"rewritten in place"
    assert place.stored() == []


def test_a_file_in_use_is_moved_and_its_user_is_named(place):
    bad = place.put()
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; f = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()",
            bad,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as user:
        user.stdout.readline()
        (outcome,) = place.act()
        user.communicate()
    assert outcome.done
    assert f"(process {user.pid})" in outcome.detail
    assert not bad.exists()


def test_a_file_being_written_is_copied_so_that_the_writer_cannot_change_it(place):
    bad = place.put()
    with bad.open("r+b") as writer:
        (outcome,) = place.act()
        writer.write(b"changed by its writer")
    assert outcome.done
    assert (place.store / DIGEST.hex()).read_bytes() == BAD


def test_special_files_are_left_alone(place):
    os.mkfifo(place.downloads / "pipe")
    quarantine = place.quarantine()
    (outcome,) = asyncio.run(quarantine.act(entry(size=None)))
    assert "not found" in outcome.detail
