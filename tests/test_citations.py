"""What a docstring, a comment or a page cites is there: pages, sections, budgets, modules, files, tests.

A citation has one of these forms; each dangling one is reported with its place.

```
contract, "Smart Protection Server"        a section (a heading, or a paragraph's bold beginning) of a page
query process, stage 3                     a row of that page's table of stages
docs/ledger.md, [text](servers.md#1-a-…)   a page, and a heading of it
P13, G2, S1                                a row of docs/budgets.md
core.asking.plan, secondlook.run.entry     a module, or a name in it; or a key of the settings, or a test's module
`Gatekeeper.settle`                        what a class of ours has
proxy/mitm/streams/stream.py, tests/…, stream.py   a file
wire/test_rice.py::TestMalformed           a test, or a class of tests
`make quick`                               a target of the Makefile
```
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from prosekit import PACKAGE, REPOSITORY, citations, dangling, is_prose, tracked
from secondlook.config.agent import Settings
from secondlook.config.fault_words import model_in
from secondlook.config.service import ServerSettings

PAGES = {
    "architecture": "architecture.md",
    "budgets": "budgets.md",
    "contract": "contract.md",
    "glossary": "glossary.md",
    "protocol": "protocol.md",
    "query process": "query-process.md",
}
OF_OTHERS = (
    "mitmproxy/",
    "asyncio/",
    "hpack/",
    "h2/",
    "net/",
    "addons/",
    "google/",
)  # sources that are not ours
NO_MODULES = "internal|test|example|local|safebrowsing|origin_form"  # hosts, a package of messages, a key
ENDINGS = {
    "yaml",
    "yml",
    "md",
    "key",
    "py",
    "pem",
    "log",
    "sock",
    "sqlite3",
    "json",
    "txt",
    "example",
    "test",
    "internal",
}


# ---- pages and their sections


@cache
def page(name: str) -> str:
    path = REPOSITORY / "docs" / PAGES[name.lower()]
    return path.read_text() if path.is_file() else ""


def plain(text: str) -> str:
    return re.sub(r"[`*\s]+", " ", text).strip().rstrip(".:").lower()


@cache
def sections(name: str) -> frozenset[str]:
    headings = re.findall(r"^#+ (.+)$", page(name), re.MULTILINE)
    return frozenset(map(plain, headings + re.findall(r"^(?:- )?\*\*(.+?)\*\*", page(name), re.MULTILINE)))


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


ANY_PAGE = "|".join(PAGES)


def test_every_section_that_is_cited_exists():
    found = citations(rf'\b((?i:{ANY_PAGE})), "([^"]+)"')
    assert len(found) > 5
    assert dangling(found, lambda name, section: plain(section) in sections(name)) == []


def test_every_phrase_that_is_cited_stands_on_its_page():
    found = citations(rf"\b((?i:{ANY_PAGE})), `([^`]+)`")
    assert found
    assert dangling(found, lambda name, words: words in re.sub(r"\s+", " ", page(name))) == []


def test_every_stage_that_is_cited_exists():
    found = citations(r"\b(?:query process, |of the )?[Ss]tages? (\d+)(?: (?:to|and|or) (\d+))?\b")
    stages = set(re.findall(r"^\| (\d+) \|", page("query process"), re.MULTILINE))
    assert len(found) > 10
    assert stages == {str(number) for number in range(1, 9)}
    assert dangling(found, lambda first, last: {first, last or first} <= stages) == []


def test_every_page_that_is_named_exists():
    found = citations(
        r"(?<![\w./=-])((?:[\w.-]+/)*[\w-]+\.md)\b(?!\.)", of=lambda path: not path.endswith(".md")
    )
    found += citations(r"`((?:[\w.-]+/)*[\w-]+\.md)`")

    def is_there(name: str) -> bool:
        return any(file == name or file.endswith(f"/{name}") for file in tracked())

    assert found
    assert dangling(found, is_there) == []


def test_every_link_of_a_page_leads_somewhere():
    found = citations(r"\]\((?!https?:|mailto:)([^)\s]*)\)", of=lambda path: path.endswith(".md"))
    missing = []
    for citation in found:
        file, _, anchor = citation.names[0].partition("#")
        origin = REPOSITORY / citation.place.rpartition(":")[0]
        path = origin.parent / file if file else origin
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(citation)
    assert len(found) > 30
    assert dangling(missing, lambda _: False) == []


def test_every_page_is_reached_from_the_readme():
    reached, to_read = set(), {REPOSITORY / "README.md"}
    while to_read:
        path = to_read.pop()
        reached.add(path)
        for target in re.findall(r"\]\(([^)#:\s]+\.md)(?:#[^)]*)?\)", path.read_text()):
            linked = (path.parent / target).resolve()
            if linked.is_file() and linked not in reached:
                to_read.add(linked)
    wanted = {(REPOSITORY / path).resolve() for path in tracked() if re.fullmatch(r"docs/.*\.md", path)}
    assert sorted(path.name for path in wanted - reached) == []


# ---- budgets


def test_every_budget_that_is_cited_exists():
    found = citations(
        r"(?<![\w.`/-])([PGS]\d{1,2})(?![\w-])", of=lambda path: not path.startswith("docs/budgets")
    )
    budgets = set(re.findall(r"^\| ([PGS]\d+) \|", page("budgets"), re.MULTILINE))
    assert len(found) > 30
    assert dangling(found, lambda name: name in budgets) == []


# ---- modules and settings


ROOMS = frozenset(path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_"))


@cache
def settings() -> frozenset[str]:
    def keys(model: type[BaseModel], seen: tuple[type[BaseModel], ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, field in model.model_fields.items():
            yield (name,)
            inner = model_in(field.annotation)
            if inner is not None and inner not in seen:
                yield from ((name, *rest) for rest in keys(inner, (*seen, inner)))

    return frozenset(".".join(key) for model in (Settings, ServerSettings) for key in keys(model))


@cache
def is_module(dotted: str) -> bool:
    """Whether a module, or a name at the top of one, is called so below the package."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        path = PACKAGE.joinpath(*parts[:count])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not source.is_file():
            continue
        rest = parts[count:]
        text = source.read_text() if rest else ""
        return all(
            re.search(
                rf"\b(?:def|class|type) {name}\b|^ *{name}\b ?[:=,]|^from .* import .*\b{name}\b",
                text,
                re.MULTILINE,
            )
            for name in rest
        )
    return False


def test_every_module_that_is_named_exists():
    rooms = "|".join(sorted(ROOMS))
    found = citations(
        rf"(?<![\w./@:*-])(?:secondlook\.)?((?:{rooms})(?:\.[a-zA-Z_]\w*)+)(?![\w(/=-]|\.\w)", of=is_prose
    )
    found += citations(
        rf"(?<![\w./@-])secondlook\.((?!(?:{NO_MODULES})\b)[a-z_]+(?:\.\w+)*)(?![\w.(/-])", of=is_prose
    )

    def is_there(dotted: str) -> bool:
        test = REPOSITORY / "tests" / f"{dotted.replace('.', '/')}.py"  # as mypy calls it
        return (
            is_module(dotted)
            or dotted in settings()
            or dotted.rpartition(".")[2] in ENDINGS
            or test.is_file()
        )

    assert len(found) > 50
    assert dangling(found, is_there) == []


@cache
def classes() -> dict[str, str]:
    """What stands in the files that define a class, by its name."""
    found: dict[str, str] = {}
    for path in tracked():
        if path.startswith("addon/") and path.endswith(".py"):
            text = (REPOSITORY / path).read_text()
            for name in re.findall(r"^class (\w+)", text, re.MULTILINE):
                found[name] = found.get(name, "") + text
    return found


def test_every_method_that_is_named_exists():
    found = citations(r"`([A-Z][a-z]\w+)\.([a-z_]\w+)(?:\(\))?`", of=is_prose)

    def is_there(cls: str, name: str) -> bool:
        return cls not in classes() or re.search(rf"\b{name}\b", classes()[cls]) is not None

    def is_ours(cls: str, _: str) -> bool:
        return cls in classes()

    assert len(found) > 10
    assert dangling(found, is_there) == []
    plan = [one for one in found if one.place.startswith(("docs/architecture.md", "CONTRIBUTING.md"))]
    assert len(plan) > 5
    assert dangling(plan, is_ours) == []


def test_the_layers_of_the_page_are_those_of_the_contract():
    (block,) = re.findall(r"^```\ncli .*?^```", page("architecture"), re.MULTILINE | re.DOTALL)
    shown = [re.split(r" {2,}", line)[0] for line in block.splitlines()[1:-1]]
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    assert shown == contracts[0]["layers"][1:]  # the first is __main__


# ---- files and tests


def test_every_file_that_is_named_exists():
    found = citations(r"(?<![\w./*-])((?:[\w.-]+/)*\w[\w-]*\.(?:py|proto|toml))\b(?!\.)")

    def is_there(name: str) -> bool:
        name = name.replace("../", "")
        if re.search(r"[A-Z]{4}", name):  # NAME, ROOM: of any file
            return True
        return name.startswith(OF_OTHERS) or any(
            file == name or file.endswith(f"/{name}") for file in tracked()
        )

    assert len(found) > 300
    assert dangling(found, is_there) == []


@cache
def functions_of(file: str) -> frozenset[str]:
    named = [path for path in tracked() if path.startswith("tests/") and path.endswith(f"/{file}")]
    return frozenset(
        name
        for path in named
        for name in re.findall(r"\b(?:def test_|class )(\w+)", (REPOSITORY / path).read_text())
    )


def test_every_test_that_is_named_exists():
    found = citations(r"\b(?:tests/)?([\w/]+\.py)::(?:test_)?(\w+)")
    assert len(found) > 150
    assert dangling(found, lambda file, name: name in functions_of(file)) == []


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    found = citations(r"`(?:\w+=\S+ )?make ([a-z]+)\b")
    assert len(found) > 10
    assert dangling(found, lambda target: target in targets) == []


# ---- the changelog


def test_every_fragment_of_the_changelog_is_of_a_kind_that_is_shown():
    shown = re.findall(
        r'^  \{ directory = "(\w+)"', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE
    )
    fragments = [
        path for path in tracked() if path.startswith("changelog.d/") and path != "changelog.d/README.md"
    ]
    assert shown[0] == "security"
    assert [path for path in fragments if path.split(".")[-2] not in shown] == []


def test_the_changelog_knows_the_version_of_the_package():
    (version,) = re.findall(r'^version = "(.+)"', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert f"\n## {version} (" in (REPOSITORY / "CHANGELOG.md").read_text()
