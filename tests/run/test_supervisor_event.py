"""An event of the supervisor, in the ledger of its settings."""

import io
import json
import sys

import pytest

from secondlook.config.source import load_settings
from secondlook.run import supervisor_event
from secondlook.run.assembly.check.ledger_opening import ledger_of


@pytest.mark.parametrize(
    ("process", "extra"), [(None, None), ("gate worker 1", {"process": "gate worker 1"})]
)
def test_it_is_written_with_the_process_that_it_is_about(tmp_path, monkeypatch, process, extra):
    settings = load_settings(None, state=tmp_path / "state")
    asked = {"detail": "it hung", "settings": settings.model_dump_json(), "process": process}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
    supervisor_event.main()
    with ledger_of(settings) as ledger:
        [event] = ledger.events.export()
    assert (str(event.kind), event.detail, event.extra or None) == ("error", "it hung", extra)


def test_a_ledger_that_cannot_be_opened_is_said(tmp_path, monkeypatch, capsys):
    settings = load_settings(None, overrides=[f"state={tmp_path}", "ledger=postgresql://127.0.0.1:9/none"])
    asked = {"detail": "it hung", "settings": settings.model_dump_json(), "process": None}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
    with pytest.raises(SystemExit) as ended:
        supervisor_event.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("secondlook: ")
