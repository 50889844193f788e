"""What is written to an output that takes nothing is lost, and nothing else."""

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from secondlook.run.supervisor.console import announce, report


@pytest.mark.parametrize(
    ("write", "name"), [(lambda: report("text"), "stderr"), (lambda: announce(["text"]), "stdout")]
)
def test_an_output_that_takes_nothing_is_no_reason_to_end(write, name, monkeypatch, capsys):
    write()
    assert "text" in getattr(capsys.readouterr(), name[-3:])
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails too
    monkeypatch.setattr(sys, name, full)
    write()
    with suppress(OSError):
        full.close()
