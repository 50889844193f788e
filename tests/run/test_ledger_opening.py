"""What of the settings reaches the ledger (0.5 s)."""

import asyncio
import os
import subprocess
from contextlib import closing, contextmanager

import pytest

from ledgerkit.samples import START, make_flag
from secondlook.config.agent import Settings
from secondlook.ground.errors import LedgerError
from secondlook.run.assembly.check.ledger_opening import ledger_of, ledger_to_read, open_ledger

PATIENT = {"deadline": "60s"}  # a flag is in the ledger, however busy the disk, not in the journal


@pytest.mark.parametrize(("settings", "due_s"), [({}, 60), ({"first": "5s"}, 5), ({"first": "1d"}, 7200)])
def test_the_first_look_is_due_when_the_settings_say(tmp_path, settings, due_s):
    """At latest after two hours: what lies further ahead counts as written before the clock was set back."""
    given = {"state": tmp_path, "recheck": settings, "ledger": PATIENT}
    with closing(open_ledger(Settings.model_validate(given))) as ledger:
        asyncio.run(ledger.flags.flag(*make_flag("a")))
        (entry,) = ledger.queue.page()
    assert entry.next_attempt == START + due_s


@pytest.mark.parametrize(("setting", "level"), [("full", 2), ("normal", 1)])
def test_a_flag_is_synced_as_the_settings_say(tmp_path, setting, level):
    settings = Settings.model_validate({"state": tmp_path, "ledger": {"synchronous": setting}})
    with closing(open_ledger(settings)) as ledger:
        durable = ledger.store.writer.submit(
            lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
        )
        assert durable.result(10.0) == level


@contextmanager
def sealed(folder):
    """Keep everybody from writing in a folder: modes do not bind root, a mount does."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    mount = ["mount", "--bind", "-o", "ro", folder, folder]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        assert not os.environ.get("CI"), done.stderr
        pytest.skip(f"cannot mount: {done.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_state_that_may_not_be_written_is_read_all_the_same(tmp_path):
    settings = Settings.model_validate({"state": tmp_path, "ledger": PATIENT})
    with closing(open_ledger(settings)) as ledger:
        asyncio.run(ledger.flags.flag(*make_flag("a")))
    before = sorted((each.name, each.read_bytes()) for each in tmp_path.iterdir())
    with sealed(tmp_path):
        with pytest.raises(LedgerError), ledger_of(settings):
            pass
        for _ in range(2):
            with ledger_to_read(settings) as ledger:
                assert len(ledger.queue.page()) == 1
    assert sorted((each.name, each.read_bytes()) for each in tmp_path.iterdir()) == before
