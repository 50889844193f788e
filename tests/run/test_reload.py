"""Settings read for the supervisor: from a file, from bytes in its place, and faults that end with words."""

import io
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from secondlook.ground.errors import ConfigError
from secondlook.run import reload
from secondlook.run.supervisor.plan import Invocation
from secondlook.run.supervisor.settings_file import FAULT_EXIT


@pytest.fixture
def invocation(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text("listen: 127.0.0.1:3128\n")
    return Invocation(str(path), state=str(tmp_path / "state"), workers=3)


def test_what_is_typed_goes_before_what_is_written(invocation):
    plan = reload.read_plan_of(invocation)
    assert (plan.workers, plan.gates, plan.endpoints.proxy) == (3, 0, (("127.0.0.1", 3128),))
    assert plan.endpoints.icap is None
    assert plan.settings_file


def test_other_content_is_read_as_if_it_stood_in_the_file(invocation):
    settings = reload.settings_of(invocation, b"listen: 127.0.0.1:8081\n")
    assert [each.port for each in settings.listen] == [8081]


def test_a_rule_that_cannot_be_is_a_fault_of_its_file(invocation):
    lab = b"clients: {groups: [{name: lab, networks: [10.0.0.0/8], rules: {block: ['/(/']}}]}\n"
    settings = reload.settings_of(invocation, lab)
    with pytest.raises(ConfigError, match=r"proxy\.yaml: clients\.groups\.0\.rules\.block\.0: "):
        reload.plan_of(invocation, settings)


def asked(invocation, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asdict(invocation))))
    monkeypatch.setattr(reload.collector, "collect_seldom", lambda: None)
    reload.main()
    return capsys.readouterr().out


def test_a_child_answers_with_the_plan_or_with_the_fault(invocation, monkeypatch, capsys):
    assert json.loads(asked(invocation, monkeypatch, capsys))["workers"] == 3
    Path(invocation.config).write_text("no_such_key: 1\n")
    with pytest.raises(SystemExit) as ended:
        asked(invocation, monkeypatch, capsys)
    assert ended.value.code == FAULT_EXIT
    assert "no_such_key" in capsys.readouterr().out


def test_a_database_that_nobody_could_open_is_a_fault_before_the_old_service_ends(
    invocation, tmp_path, monkeypatch, capsys
):
    Path(invocation.config).write_text(f"ledger: 'postgresql://nobody@/none?host={tmp_path}'\n")
    with pytest.raises(SystemExit) as ended:
        asked(invocation, monkeypatch, capsys)
    assert ended.value.code == FAULT_EXIT
    assert "ledger postgresql" in capsys.readouterr().out
