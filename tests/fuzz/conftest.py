"""The sum at the end: how many inputs each target met."""

import pytest

from fuzzkit import BUDGET_S


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not BUDGET_S:
        return
    terminalreporter.section(f"inputs in {BUDGET_S:g} s each")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            told = dict(report.user_properties)
            if "fuzzed" in told:
                terminalreporter.write_line(f"{told['fuzzed']:>9,}  {report.nodeid}")
