"""The plan goes to children whole and under no name."""

import os

from secondlook.config.agent import Settings
from secondlook.config.source import load_settings
from secondlook.run.reload import plan_of
from secondlook.run.supervisor.plan import Invocation, read_plan, write_plan


def test_survives_the_way_to_a_child(tmp_path):
    invocation = Invocation(config=None, overrides=("policy.level=high",), state=str(tmp_path))
    settings = load_settings(None, overrides=invocation.overrides, state=tmp_path)
    plan = plan_of(invocation, settings)
    descriptor = write_plan(plan)
    try:
        assert os.get_inheritable(descriptor)
        for _ in range(2):  # every child reads it from the beginning
            assert read_plan(descriptor) == plan
        assert Settings.model_validate_json(read_plan(descriptor).settings) == settings
    finally:
        os.close(descriptor)
    assert list(tmp_path.iterdir()) == []
