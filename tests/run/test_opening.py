"""What of the settings reaches the ledger (0.5 s)."""

import asyncio
from contextlib import closing

import pytest

from ledgerkit.samples import START, make_flag
from secondlook.config import Settings
from secondlook.run.opening import open_ledger


@pytest.mark.parametrize(("settings", "due_s"), [({}, 60), ({"first": "5s"}, 5), ({"first": "1d"}, 7200)])
def test_the_first_look_is_due_when_the_settings_say(tmp_path, settings, due_s):
    """At latest after two hours: what lies further ahead counts as written before the clock was set back."""
    with closing(open_ledger(Settings.model_validate({"state": tmp_path, "recheck": settings}))) as ledger:
        asyncio.run(ledger.flag(*make_flag("a")))
        (entry,) = ledger.queue_entries()
    assert entry.next_attempt == START + due_s
