"""The sum at the end: how many inputs each target met."""

import pytest

from fuzzkit import BUDGET_S


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not BUDGET_S:
        return
    terminalreporter.section(f"inputs in {BUDGET_S:g} s each")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in report.user_properties:
                if name == "fuzzed":
                    terminalreporter.write_line(f"{value:>9,}  {report.nodeid}")
