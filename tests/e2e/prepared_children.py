"""A fixture for tests of what starts children of ours."""

import subprocess

import pytest

from e2e import prepared


@pytest.fixture(autouse=True)
def prepared_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the children that compile rules, take feeds in and publish: importing is most of what they cost."""
    prepared.allow()
    monkeypatch.setattr(subprocess, "Popen", prepared.Prepared)
