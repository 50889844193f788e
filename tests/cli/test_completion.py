"""Completion as a real bash asks for it, through the script that `--show-completion` prints. 8 s."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from secondlook.core.lists.feed_format import Format
from secondlook.core.verdict import Stage

ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
ASK = """
eval "$SCRIPT"
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_secondlook_completion secondlook
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def ran(*words, **more):
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=60, env={**ENVIRONMENT, **more}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def script():
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    return ran("bash", "-c", "secondlook --show-completion; true")


def offered(script, words):
    return ran("bash", "-c", ASK.format(words=words), SCRIPT=script).split()


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("secondlook qu", ["queue", "quarantine"]),
        ("secondlook log --kind blocked,con", ["blocked,confirmed"]),
        ("secondlook log --stage = ''", [*Stage]),
        ("secondlook setup ca ''", ["on", "off"]),
        ("secondlook server import --format ''", ["auto", *Format]),
    ],
)
def test_values_of_a_fixed_set(script, words, values):
    assert offered(script, words) == values


def test_ids_of_the_ledger_that_is_named(script, tmp_path):
    state = tmp_path / "state"
    assert offered(script, f"secondlook rules remove --state {state} ''") == []
    assert not state.exists()
    rule = json.loads(ran("secondlook", "block", "completion.test", "--state", str(state), "--json"))["id"]
    assert offered(script, f"secondlook rules remove --state {state} {rule[:4]}") == [rule]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_get_the_same(shell):
    assert "complete_" + shell in ran("secondlook", _SECONDLOOK_COMPLETE=f"source_{shell}")
    told = ran(
        "secondlook",
        _SECONDLOOK_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="secondlook setup system-proxy ",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert {"on", "off"} <= set(re.findall(r"\w+", told))
