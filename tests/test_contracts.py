"""What `[tool.importlinter]` cannot say: who needs nothing but the standard library."""

import sys

import grimp
import pytest


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
