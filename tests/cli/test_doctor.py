"""The doctor: what it finds, and how it shows that it is at work."""

import asyncio
import io
import json

from e2e.processes import command
from secondlook.cli.context import CommandContext
from secondlook.cli.operation import doctor
from secondlook.run.diagnosis.check_result import CheckResult


def test_doctor_finds_trouble_and_says_what_to_do(state):
    done = command("doctor", "--state", state, "--json", check=False)
    assert done.returncode == 1
    findings = {each["check"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert findings["running"]["result"] == "problem"
    assert "secondlook run" in findings["running"]["remedy"]
    assert findings["disk"]["result"] == "ok"
    assert {"ledger", "pattern", "ca", "clock", "bypass"} <= set(findings)


def test_doctor_shows_on_a_terminal_that_it_is_at_work(state, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    async def slowly(_settings):
        yield CheckResult("disk", "problem", "full", "delete something")

    monkeypatch.setattr("secondlook.run.diagnosis.diagnosis.diagnose", slowly)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert asyncio.run(doctor._examine(CommandContext(None, state))) == 1
    assert capsys.readouterr().out.startswith("PROBLEM  disk      full")
    shown = terminal.getvalue()
    assert shown.startswith("looking …\r")
    assert not shown.splitlines()[-1].strip(), "and wipes it away again"
    assert "\x1b" not in shown
