"""What blocks has threads of its own: nothing of ours uses the pool that everything shares."""

import ast
import asyncio
import threading
from pathlib import Path

import pytest

import secondlook
from secondlook.ground.lanes import LISTS, VIEW

SOURCES = sorted(Path(secondlook.__file__).parent.rglob("*.py"))
SHARED = {"to_thread", "getaddrinfo"}
OWN_RESOLVER = "resolver.py"  # asks the system itself, in threads for names alone
BINDS = "tcp.py"  # before there is a loop


def shared_pool(tree):
    """List the calls in a source that use the loop's default executor."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in SHARED:
            yield node.lineno
        elif node.func.attr == "run_in_executor":
            pool = node.args[0]
            if isinstance(pool, ast.Constant) and pool.value is None:
                yield node.lineno


@pytest.mark.parametrize(
    "line",
    [
        "asyncio.to_thread(f)",
        "loop.run_in_executor(None, f)",
        "loop.getaddrinfo(h, 1)",
        "socket.getaddrinfo(h, 1)",
    ],
)
def test_the_shared_pool_is_recognised(line):
    assert list(shared_pool(ast.parse(line))) == [1]


def test_nothing_of_ours_waits_in_the_shared_pool():
    found = [
        f"{path}:{line}"
        for path in SOURCES
        if path.name not in {OWN_RESOLVER, BINDS}
        for line in shared_pool(ast.parse(path.read_text("utf-8")))
    ]
    assert not found, "use a lane of secondlook.ground.lanes, or the resolver"


def test_a_full_lane_stops_no_other():
    async def scene():
        let = threading.Event()
        held = [asyncio.ensure_future(LISTS.run(let.wait, 60)) for _ in range(40)]
        await asyncio.sleep(0)  # they hold their threads before anybody else comes
        try:
            async with asyncio.timeout(60):
                assert await VIEW.run(int, "7") == 7
        finally:
            let.set()
            await asyncio.gather(*held)

    asyncio.run(scene())
