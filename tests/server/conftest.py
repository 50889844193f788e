"""The children of the server's tests are forked from a prepared process."""

import subprocess

import pytest

from e2e import prepared


@pytest.fixture(autouse=True)
def prepared_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork what takes feeds in and publishes (see `e2e.prepared`): importing is most of what it costs."""
    prepared.allow()
    monkeypatch.setattr(subprocess, "Popen", prepared.Prepared)
