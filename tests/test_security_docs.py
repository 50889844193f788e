"""The threat model names what there is: files, tests, and every mutation of `make mutants`."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
TABLE = tomllib.loads((REPOSITORY / "tests" / "mutants.toml").read_text())["mutation"]


@cache
def page() -> str:
    return (REPOSITORY / "docs" / "security.md").read_text()


@cache
def functions(file: str) -> frozenset[str]:
    path = REPOSITORY / "tests" / file
    found = (
        re.findall(r"^ *(?:async )?def test_(\w+)", path.read_text(), re.MULTILINE) if path.is_file() else ()
    )
    return frozenset(found)


def test_every_test_that_is_named_exists():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page())
    assert len(named) > 150
    assert not [f"{file}::{name}" for file, name in named if name not in functions(file)]


def test_every_file_that_is_named_exists():
    named = set(re.findall(r"`([\w/]+\.py)`", page()))
    assert len(named) > 50
    assert not [file for file in named if not (REPOSITORY / "addon" / "secondlook" / file).is_file()]


def test_every_row_names_a_file_and_a_test():
    rows = [
        line.split(" | ") for line in page().splitlines() if line.startswith("| ") and line.count(" | ") == 2
    ]
    rows = [
        row
        for row in rows
        if row[0] not in {"| tries", "| what happens", "| risk", "| what must never happen"}
    ]
    assert len(rows) > 100
    assert not [row for row in rows if "::" not in row[2] or not re.search(r"\.(?:py|txt)`", row[1])]


def test_every_dependency_is_locked_with_its_hashes():
    makefile = (REPOSITORY / "Makefile").read_text()
    for name in ("requirements.txt", "requirements-extra.txt", "requirements-dev.txt"):
        assert f"--require-hashes -r {name}" in makefile
        entries = re.split(r"\n(?=[\w-])", (REPOSITORY / name).read_text().strip())
        assert len(entries) > 50
        assert not [one for one in entries if "==" not in one.split()[0] or "--hash=sha256:" not in one]
        assert "://" not in "".join(entries), "no index is named: whoever installs chooses it"


def test_every_link_leads_somewhere():
    for name in ("docs/security.md", "SECURITY.md"):
        path = REPOSITORY / name
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), target


def test_every_test_of_a_mutation_is_named():
    named = set(re.findall(r"`([\w/]+\.py::\w+)`", page()))
    for mutation in TABLE:
        for test in mutation["tests"]:
            file, *_, function = test.removeprefix("tests/").split("::")
            assert f"{file}::{function.removeprefix('test_')}" in named, (
                f"docs/security.md does not name {test}"
            )


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation["name"])
def test_a_mutation_changes_what_it_says(mutation):
    source = (REPOSITORY / "addon" / "secondlook" / mutation["file"]).read_text()
    assert source.count(mutation["old"]) == 1, "tests/mutants.toml must say where this defence stands now"
    compile(source.replace(mutation["old"], mutation["new"]), mutation["file"], "exec")
    for test in mutation["tests"]:
        file, *_, function = test.removeprefix("tests/").split("::")
        assert function.removeprefix("test_") in functions(file), test


def test_no_mutation_stands_there_twice():
    names = [mutation["name"] for mutation in TABLE]
    assert len(set(names)) == len(names)
