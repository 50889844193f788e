"""The commands are forked from a prepared process, as those of the stories are."""

import pytest

from e2e import prepared

prepared.allow()


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"
