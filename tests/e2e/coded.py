"""Code of a test as a process of its own, which `e2e.prepared` forks where it can."""

import os
import subprocess
import sys
from typing import Any

from e2e import prepared


def start(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start what `python -c` would, with all of ours imported already."""
    prepared.allow()
    paths = os.pathsep.join(filter(None, sys.path))
    words = [prepared.PYTHON, "-P", "-m", "e2e.coded", code, *map(str, arguments)]
    return prepared.Prepared(words, text=True, env=os.environ | {"PYTHONPATH": paths}, **options)


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with its output as text."""
    with start(code, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


if __name__ == "__main__":
    exec(sys.argv.pop(1))
