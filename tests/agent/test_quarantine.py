"""Quarantine on a real file system: the right file and only it, and an honest word about the rest."""

import asyncio
import hashlib
import os
import resource
import shutil
import stat
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.quarantining import BAD, DIGEST, Place, entry
from secondlook.agent.actions import quarantine as module
from secondlook.agent.actions.quarantine import Quarantine, QuarantineError
from secondlook.core.rules.rule import Scope
from secondlook.ground.clock import SystemClock

NOBODY = 65534


def test_the_right_file_and_only_it(place):
    bad = place.put()
    same_size = place.put("other.exe", b"y" * len(BAD))
    deep = place.put("a/b/c/bad-again.exe")
    outcomes = place.act()
    assert [outcome.done for outcome in outcomes] == [True, True]
    assert not bad.exists()
    assert not deep.exists()
    assert same_size.read_bytes() == b"y" * len(BAD)
    assert place.stored() == [DIGEST.hex()]
    stored = place.store / DIGEST.hex()
    assert stored.read_bytes() == BAD
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.store.stat().st_mode) == 0o700
    assert {record.state for record in place.ledger.records.values()} == {"held"}


def test_what_a_browser_saved_of_an_encoded_file_is_found(place):
    sent = hashlib.sha256(b"as it was sent").digest()
    seen = replace(entry(14, sent), hit=DIGEST, filename="Setup.EXE")
    saved, other = place.put("setup (1).exe"), place.put("notes.txt")
    (outcome,) = asyncio.run(place.quarantine().act(seen))
    assert outcome.done
    assert not saved.exists()
    assert other.exists()  # only what has the name's ending is looked at: the size is not known


def test_restored_bytes_mode_and_time_are_identical_and_it_is_allowed(place):
    bad = place.put(mode=0o640)
    os.utime(bad, (1_000_000_000, 1_000_000_000))
    quarantine = place.quarantine()
    (outcome,) = asyncio.run(quarantine.act(entry()))
    path = asyncio.run(quarantine.restore(outcome.record_id))
    assert path == bad
    assert bad.read_bytes() == BAD
    assert stat.S_IMODE(bad.stat().st_mode) == 0o640
    assert bad.stat().st_mtime == 1_000_000_000
    assert place.stored() == []
    (rule,) = place.ledger.rule_list
    assert (rule.action, rule.scope, rule.subject, rule.source) == (
        "allow",
        Scope.SHA256,
        DIGEST.hex(),
        "quarantine",
    )
    with pytest.raises(QuarantineError, match="not in quarantine"):
        asyncio.run(quarantine.restore(outcome.record_id))


def test_restore_never_overwrites(place):
    bad = place.put()
    quarantine = place.quarantine()
    (outcome,) = asyncio.run(quarantine.act(entry()))
    bad.write_bytes(b"new and good")
    path = asyncio.run(quarantine.restore(outcome.record_id))
    assert path.name == "bad (2).exe"
    assert path.read_bytes() == BAD
    assert bad.read_bytes() == b"new and good"


def test_restore_into_a_folder_that_is_gone(place):
    bad = place.put("sub/bad.exe")
    quarantine = place.quarantine()
    (outcome,) = asyncio.run(quarantine.act(entry()))
    shutil.rmtree(bad.parent)
    assert asyncio.run(quarantine.restore(outcome.record_id)).read_bytes() == BAD


def test_two_copies_share_the_stored_bytes_until_both_are_gone(place):
    place.put("one.exe")
    place.put("two.exe")
    quarantine = place.quarantine()
    first, second = asyncio.run(quarantine.act(entry()))
    asyncio.run(quarantine.delete(first.record_id))
    assert place.stored() == [DIGEST.hex()]
    assert asyncio.run(quarantine.restore(second.record_id)).read_bytes() == BAD
    assert place.stored() == []


def test_damaged_stored_bytes_are_not_given_back(place):
    place.put()
    quarantine = place.quarantine()
    (outcome,) = asyncio.run(quarantine.act(entry()))
    (place.store / DIGEST.hex()).write_bytes(b"something else")
    with pytest.raises(QuarantineError, match="do not match"):
        asyncio.run(quarantine.restore(outcome.record_id))


def test_delete(place):
    place.put()
    quarantine = place.quarantine()
    (outcome,) = asyncio.run(quarantine.act(entry()))
    asyncio.run(quarantine.delete(outcome.record_id))
    assert place.stored() == []
    with pytest.raises(QuarantineError, match="no quarantined file"):
        asyncio.run(quarantine.delete("nothing"))


def test_not_found_is_said(place):
    (outcome,) = place.act()
    assert not outcome.done
    assert outcome.detail == f"not found in {place.downloads}"


def test_no_folder_configured_is_said(place):
    quarantine = Quarantine(
        place.store, place.ledger.quarantine, place.ledger.rules, SystemClock(), folders=[]
    )
    (outcome,) = asyncio.run(quarantine.act(entry()))
    assert "downloads.folders" in outcome.detail


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_across_file_systems(place):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == place.base.stat().st_dev:
            pytest.skip("one file system only")
        bad = place.put()
        quarantine = Quarantine(
            Path(other) / "q",
            place.ledger.quarantine,
            place.ledger.rules,
            SystemClock(),
            folders=[place.downloads],
        )
        (outcome,) = asyncio.run(quarantine.act(entry()))
        assert outcome.done
        assert not bad.exists()
        assert (Path(other) / "q" / DIGEST.hex()).read_bytes() == BAD
        assert outcome.record_id is not None
        assert asyncio.run(quarantine.restore(outcome.record_id)).read_bytes() == BAD


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], capture_output=True, check=False
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("cannot mount a small file system here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_the_file_and_no_remains(place, small_disk):
    bad = place.put()
    quarantine = Quarantine(
        small_disk / "q",
        place.ledger.quarantine,
        place.ledger.rules,
        SystemClock(),
        folders=[place.downloads],
    )
    (outcome,) = asyncio.run(quarantine.act(entry()))
    assert not outcome.done
    assert "no space left" in outcome.detail
    assert bad.read_bytes() == BAD
    assert list((small_disk / "q").iterdir()) == []


def test_a_copy_that_cannot_be_written_leaves_the_file(place):
    """The same as a full disk, where nothing can be mounted: no file may grow past 4 KiB."""
    bad = place.put()
    os.link(bad, place.base / "second-name")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        (outcome,) = place.act()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not outcome.done
    assert "too large" in outcome.detail
    assert bad.read_bytes() == BAD
    assert place.stored() == []


def test_no_fallback_to_delete_unless_it_is_written(place, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "put_away", fail)
    bad = place.put()
    (outcome,) = place.act()
    assert (outcome.done, bad.exists()) == (False, True)
    (outcome,) = place.act(fallback="delete")
    assert (outcome.action, outcome.done, bad.exists()) == ("delete", True, False)


@pytest.fixture
def nobodys_place():
    """A place of nobody, who acts while the test runs: permissions mean nothing to root."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as other:
        place = Place(Path(name))
        if os.geteuid() != 0:
            yield place
            return
        first = Place(Path(other))  # as root: what is imported when it is first needed may be root's alone
        first.put()
        first.act()
        for folder in (place.base, place.downloads):
            os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        yield place
        os.seteuid(0)


def test_an_unreadable_folder_is_named_and_the_rest_is_searched(nobodys_place):
    place = nobodys_place
    bad = place.put()
    place.put("closed/bad.exe").parent.chmod(0)
    secret = place.put("secret.exe")
    secret.chmod(0)
    outcomes = {outcome.detail: outcome.done for outcome in place.act()}
    (place.downloads / "closed").chmod(0o700)
    assert outcomes == {
        f"{place.downloads / 'closed'}: folder not searched: permission denied": False,
        f"{secret}: not looked at: permission denied": False,
        f"{bad}: put into quarantine": True,
    }


def test_a_folder_that_cannot_be_changed_keeps_its_file(nobodys_place):
    place = nobodys_place
    bad = place.put()
    place.downloads.chmod(0o500)
    (outcome,) = place.act()
    place.downloads.chmod(0o700)
    assert not outcome.done
    assert "permission denied" in outcome.detail
    assert bad.read_bytes() == BAD


def test_rename_takes_the_run_bits_and_the_name(place):
    bad = place.put()
    (outcome,) = place.act(action="rename")
    assert outcome.done
    renamed = bad.with_name("bad.exe.blocked")
    assert renamed.read_bytes() == BAD
    assert stat.S_IMODE(renamed.stat().st_mode) == 0o644


def test_rename_and_delete_leave_a_swapped_file_alone(place, monkeypatch):
    for action, name in (("rename", "rename_in_place"), ("delete", "discard")):
        bad = place.put(f"{action}.exe")
        original = getattr(module, name)

        def swap_first(candidate, bad=bad, original=original):
            bad.rename(place.base / f"gone-{bad.name}")
            bad.write_bytes(b"innocent")
            return original(candidate)

        monkeypatch.setattr(module, name, swap_first)
        (outcome,) = place.act(action=action)
        assert not outcome.done
        assert bad.read_bytes() == b"innocent"
        bad.unlink()


def test_pass_touches_nothing(place):
    bad = place.put()
    (outcome,) = place.act(action="pass")
    assert outcome.done
    assert bad.exists()


def test_a_proxy_with_a_ledger_of_its_own_may_be_renamed(place):
    place.put()
    (outcome,) = place.act(proxy="old")
    assert asyncio.run(place.quarantine(proxy="new").restore(outcome.record_id)).read_bytes() == BAD


def test_a_ledger_that_cannot_take_the_record_leaves_the_file(place):
    bad = place.put()
    place.ledger.full = True
    (outcome,) = place.act()
    assert not outcome.done
    assert bad.exists()
