"""What the workers of pytest find made: code with its assertions rewritten, and bytecode of what tests share."""

import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from _pytest.assertion.rewrite import _read_pyc
from hypothesis.configuration import storage_directory

import kept
from secondlook.ground import tasks


@pytest.fixture(autouse=True)
def writes(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    storage_directory("constants").create_if_missing()  # those of the suite are left alone


def made(folder: Path, text: str, count: int = kept.AT_ONCE) -> list[Path]:
    sources = [folder / f"test_{number}.py" for number in range(count - 1)]
    sources += [folder / "conftest.py", folder / "shared.py"]
    for source in sources:
        source.write_text(text)
    return sources


def test_pytest_takes_what_was_kept_and_old_code_is_made_anew(pytestconfig, tmp_path):
    *tests, shared = made(tmp_path, "word = 'old'\nassert word == 'old'\n")
    (tmp_path / "test_0.py").write_text("this is no Python\n")
    assert not any(map(kept.is_kept, tests))
    kept.keep(pytestconfig, [*tests, shared], [], 2)
    assert [source.name for source in tests if not kept.is_kept(source)] == ["test_0.py"]
    assert Path(cache_from_source(str(shared))).exists()
    for source in tests[1:]:
        code = _read_pyc(source, kept.rewritten(source))
        assert code is not None, "pytest would make it again"
        assert "@pytest_ar" in code.co_names
    tests[-1].write_text("word = 'new'\n")
    assert not kept.is_kept(tests[-1])


def test_a_few_files_are_left_to_the_workers(pytestconfig, tmp_path):
    tests = made(tmp_path, "assert True\n", kept.AT_ONCE - 1)[:-1]
    kept.keep(pytestconfig, tests, [], 2)
    assert not any(map(kept.is_kept, tests))


def test_hypothesis_finds_the_constants_of_our_modules(pytestconfig, tmp_path, monkeypatch):
    monkeypatch.setattr("hypothesis.configuration.__hypothesis_home_directory", tmp_path / "home")
    kept.keep(pytestconfig, made(tmp_path, "assert True\n"), [Path(tasks.__file__)], 2)
    (found,) = (tmp_path / "home" / "constants").iterdir()
    assert str(tasks.AGAIN_S) in found.read_text()
