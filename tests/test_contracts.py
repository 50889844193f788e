"""What `[tool.importlinter]` cannot say: who needs nothing but the standard library, and who does no I/O."""

import ast
import sys
from pathlib import Path

import grimp
import pytest

PACKAGE = Path(__file__).parent.parent / "addon" / "secondlook"

# What a room without I/O may import: modules that compute. Whatever is not named here could read, send, wait or guess.
COMPUTES = """
    array bisect collections collections.abc dataclasses enum functools hashlib ipaddress itertools json math re
    struct sys types typing unicodedata urllib.parse idna lru numpy numpy.typing re2
"""
COMPUTES_TOO = {
    "core": "",  # no clock either
    "feeds": "bz2 codecs csv datetime html lzma zlib brotli backports.zstd compression.zstd",
    "wire": "base64 binascii cryptography.exceptions cryptography.hazmat.primitives.asymmetric.ed25519"
    " google.protobuf google.protobuf.internal",
}
DOES_IO = {"open", "print", "input", "__import__"}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("secondlook", include_external_packages=True, cache_dir=None)


def needed_by(graph, module):
    """Return what starting a module imports, however far away: packages by their first name, and our modules."""
    names = module.split(".")
    parents = [".".join(names[:end]) for end in range(1, len(names))]  # their __init__ runs too
    found = graph.find_upstream_modules(module, as_package=True).union(
        *(graph.find_upstream_modules(parent) for parent in parents)
    )
    ours = {name for name in found if name.startswith("secondlook.")}
    return {name.split(".")[0] for name in found - ours}, ours - set(parents)


@pytest.mark.parametrize(
    ("module", "of_ours"),
    [
        ("secondlook.run.supervisor", {"core", "ground", "setup"}),  # of which the same is true
        ("secondlook.gateway.helper", set()),  # Squid starts it by the dozen
    ],
)
def test_only_the_standard_library_is_needed(graph, module, of_ours):
    outside, ours = needed_by(graph, module)
    assert outside - sys.stdlib_module_names == set()
    assert {name.split(".")[1] for name in ours} == of_ours


def test_what_needs_more_is_seen(graph):
    outside, _ = needed_by(graph, "secondlook.run.worker")
    assert {"mitmproxy", "pydantic"} <= outside - sys.stdlib_module_names


def imported(tree):
    """Return what a module imports, by whole names, wherever in it."""
    nodes = list(ast.walk(tree))
    return {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names} | {
        node.module for node in nodes if isinstance(node, ast.ImportFrom)
    }


def names_in(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def file_of(module):
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("room", COMPUTES_TOO)
def test_what_a_room_without_io_needs_only_computes(graph, room):
    package = f"secondlook.{room}"
    _, ours = needed_by(graph, package)
    modules = ours | graph.find_descendants(package) | {package}
    trees = {module: ast.parse(file_of(module).read_text()) for module in modules}
    allowed = {*COMPUTES.split(), *COMPUTES_TOO[room].split()}
    others = {
        (module, name)
        for module, tree in trees.items()
        for name in imported(tree) - allowed
        if not name.startswith("secondlook.")
    }
    assert others == set()
    assert {module for module, tree in trees.items() if DOES_IO & names_in(tree)} == set()
