"""The first steps that are remembered."""

from secondlook.ground.first_steps import FirstSteps, Step


def test_what_was_taken_is_known_to_every_process(tmp_path):
    steps = FirstSteps(tmp_path)
    assert steps.taken() == frozenset()
    for step in (Step.REQUEST, Step.TRUST, Step.TRUST):
        steps.mark(step)
    assert FirstSteps(tmp_path).taken() == {Step.REQUEST, Step.TRUST}
    assert not steps.all_taken()
    steps.mark(Step.BLOCK)
    assert steps.all_taken(), "notices are not for everybody"


def test_a_state_folder_that_cannot_be_written_hinders_nobody(tmp_path, caplog):
    (tmp_path / "first-steps").write_text("no folder")
    FirstSteps(tmp_path).mark(Step.BLOCK)
    assert "cannot mark the first step block" in caplog.text


def test_a_folder_that_cannot_be_looked_into_has_none(tmp_path):
    assert FirstSteps(tmp_path / ("x" * 300)).taken() == frozenset()
