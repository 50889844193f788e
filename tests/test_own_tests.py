"""Which modules of the package have no tests of their own: fewer every time, and never a new one.

The tests of `secondlook/ROOM/MODULE.py` are `tests/ROOM/test_MODULE.py`. A wing takes no part in the path:
`agent/check/stages.py` is tested by `tests/agent/test_stages.py`. Where two modules of a room have one name,
that in the wing puts the wing first: `core/rules/subject.py` by `tests/core/test_rules_subject.py`. A module
right in the package is tested right in `tests`. One that only declares (data, protocols, errors, constants)
decides nothing and needs no tests.
"""

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "addon" / "secondlook"
GENERATED = {"wire/safebrowsing_pb2.py"}

# Modules that only the tests of others exercise. Whoever gives one its own tests takes it off; nothing is added.
WITHOUT = set(
    """
    cli/operation/pattern.py
    cli/records/quarantine.py
    cli/records/queue.py
    cli/operation/run.py
    cli/server/context.py
    cli/server/entries.py
    cli/server/inspect.py
    cli/server/publish.py
    cli/server/run.py
    run/assembly/answers/reviewing.py
    run/development.py
    run/server_process.py
    run/service.py
    server/feeds/child.py
    server/feeds/fetch.py
    server/service.py
    """.split()  # noqa: SIM905 - a table to read, one line a module
)


def does_something(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is more than a signature, as those of a protocol are."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return any(not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)) for each in body)


def decides(path: Path) -> bool:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(
        isinstance(node, functions) and does_something(node) for node in ast.walk(ast.parse(path.read_text()))
    )


def own_tests(module: str, names: Counter[tuple[str, str]]) -> Path:
    """Give the path of a module's tests; `names` counts the modules of each room and name."""
    room, *wings, name = module.removesuffix(".py").split("/") if "/" in module else ("", module[:-3])
    if wings and names[room, name] > 1:
        name = "_".join((*wings, name))
    return TESTS / room / f"test_{name}.py"


def without_tests() -> set[str]:
    modules = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not path.name.startswith("__") and "migrations" not in path.parts
    } - GENERATED
    names = Counter((module.split("/")[0], Path(module).stem) for module in modules if "/" in module)
    return {
        module for module in modules if not own_tests(module, names).exists() and decides(PACKAGE / module)
    }


def test_every_module_has_tests_of_its_own_or_is_known_to_have_none():
    found = without_tests()
    assert not found - WITHOUT, "these need a test module of their own"
    assert not WITHOUT - found, "these have their own tests by now, or are gone: take them off the list"


def test_where_the_tests_of_a_module_are():
    names = Counter({("core", "subject"): 2, ("agent", "stages"): 1})
    paths = {
        "agent/check/stages.py": "agent/test_stages.py",
        "core/subject.py": "core/test_subject.py",
        "core/rules/subject.py": "core/test_rules_subject.py",
        "suffix.py": "test_suffix.py",
    }
    assert {module: str(own_tests(module, names).relative_to(TESTS)) for module in paths} == paths


def test_a_protocol_decides_nothing(tmp_path):
    path = tmp_path / "ports.py"
    path.write_text('class Port:\n    def ask(self):\n        """Ask."""\n        ...\n')
    assert not decides(path)
    path.write_text('def ask():\n    """Ask."""\n    return 1\n')
    assert decides(path)
