"""What each worker of pytest would make for itself, made once before they start, and only where it is missing.

Those are the tests' code with its assertions rewritten, the code of what they share, and the constants of our modules
that Hypothesis tries: half of what a worker does before its first test in a fresh checkout.
"""

import compileall
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from importlib.util import MAGIC_NUMBER, source_hash
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.assertion.rewrite import (
    PYC_TAIL,
    _rewrite_test,
    _write_pyc,
    assertstate_key,
    get_cache_dir,
    try_makedirs,
)
from hypothesis.configuration import storage_directory
from hypothesis.internal.constants_ast import constants_from_module

HASH_CHECKED = b"\x03\x00\x00\x00"
AT_ONCE = 20  # files: fewer are left to the workers


def rewritten(source: Path) -> Path:
    """Return where pytest keeps the rewritten code of a file."""
    return get_cache_dir(source) / f"{source.name[:-3]}{PYC_TAIL}"


def is_kept(source: Path) -> bool:
    """Return whether the rewritten code of a file is there, and is that of its present text."""
    try:
        with rewritten(source).open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head == MAGIC_NUMBER + HASH_CHECKED + source_hash(source.read_bytes())


def keep(config: pytest.Config, sources: Iterable[Path], ours: Iterable[Path], workers: int) -> None:
    """Write what is missing for test files and what they share, and for our modules, by some processes at a time."""
    if sys.dont_write_bytecode or sys.platform == "win32":
        return
    patterns = ("conftest.py", *config.getini("python_files"))
    tests, shared = list[Path](), list[Path]()
    for source in sources:
        kind = tests if any(fnmatch(source.name, pattern) for pattern in patterns) else shared
        kind.append(source)
    missing = [source for source in tests if not is_kept(source)]
    if len(missing) < AT_ONCE:
        return
    constants = [] if storage_directory("constants").path.exists() else list(ours)

    def write(part: int) -> None:
        for source in missing[part::workers]:
            _keep_rewritten(config, source)
        for source in shared[part::workers]:
            compileall.compile_file(source, quiet=2)
        for module in _modules(constants[part::workers]):
            constants_from_module(module)  # it writes them down

    processes = [get_context("fork").Process(target=write, args=(part,)) for part in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _keep_rewritten(config: pytest.Config, source: Path) -> None:
    try:
        text_hash, code = _rewrite_test(source, config)
    except SyntaxError:
        return  # pytest says so, and where
    if try_makedirs(get_cache_dir(source)):
        _write_pyc(config.stash[assertstate_key], code, text_hash, rewritten(source))


def _modules(sources: list[Path]) -> Iterator[ModuleType]:
    for source in sources:
        module = ModuleType(source.stem)
        module.__file__ = str(source)
        yield module
