import subprocess
import sys
from pathlib import Path

import pytest

ADDON = str(Path(__file__).parents[2] / "addon")
CIRCLE = """
class Circle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("collected", flush=True)
"""


def printed(*lines: str) -> str:
    """Run Python with one object that only the garbage collector can take away."""
    script = "\n".join([CIRCLE, *lines])
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ADDON},
    )
    return done.stdout


SELDOM = "from secondlook.ground import collector; collector.collect_seldom()"
COMMAND = "from secondlook.cli.main import main; main(['--version'])"


@pytest.mark.parametrize(("does", "looked"), [("pass", True), (SELDOM, False), (COMMAND, False)])
def test_what_ends_soon_is_not_looked_through_at_its_end(does, looked):
    assert ("collected" in printed("import gc; gc.disable(); Circle()", does)) == looked


def test_one_that_collects_seldom_still_does_when_there_is_much():
    much = "kept = [[] for _ in range(250_000)]"
    assert printed(SELDOM, "Circle()", much) == "collected\n"


def test_what_goes_on_for_long_collects_as_ever():
    begun = "import gc; before = gc.get_threshold()"
    settled = "gc.disable(); Circle(); collector.keep_what_is_here(); print('settled')"
    ordinary = "assert gc.isenabled() and gc.get_threshold() == before and gc.get_freeze_count()"
    assert printed(begun, SELDOM, settled, ordinary) == "collected\nsettled\n"
