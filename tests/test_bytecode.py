"""Bytecode is there after the installation, whatever the environment says, and old code is never used."""

import os
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "compile"


def run(folder: Path, *arguments: str | Path) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    return subprocess.check_output([sys.executable, *arguments], env=environment, text=True, cwd=folder)


def test_what_is_imported_is_compiled_once_and_a_changed_source_counts(tmp_path):
    package = tmp_path / "secondlook"
    sources = [
        package / "__init__.py",
        package / "word.py",
        package / "wing" / "__init__.py",
        package / "wing" / "word.py",
    ]
    (package / "wing").mkdir(parents=True)
    for source in sources:
        source.write_text("WORD = 'old'\n")
    (package / "broken.py").write_text("raise RuntimeError\n")
    run(tmp_path, SCRIPT)
    for source in sources:
        bytecode = Path(cache_from_source(str(source))).read_bytes()
        assert int.from_bytes(bytecode[4:8], "little") == 0, "tied to its source by time and size"
    sources[-1].write_text("WORD = 'newer'\n")
    assert run(tmp_path, "-c", "import secondlook.wing.word as w; print(w.WORD)") == "newer\n"
