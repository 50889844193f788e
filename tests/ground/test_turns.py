"""Turns are taken by client, the smallest first, and no client takes the last place (about 1 s)."""

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.ground.turns import Turns


async def _story(places: int, wanted: list[tuple[str, int, bool]]) -> list[tuple[str, int]]:
    turns, begun, now = Turns(places), [], set()

    async def work(client: str, size: int) -> None:
        async with turns.turn(client, size):
            now.add(asyncio.current_task())
            assert len(now) <= places
            begun.append((client, size))
            await asyncio.sleep(0)
            now.discard(asyncio.current_task())

    tasks = [asyncio.create_task(work(client, size)) for client, size, _ in wanted]
    await asyncio.sleep(0)
    for task, (_, _, gone) in zip(tasks, wanted, strict=True):
        if gone and task not in now:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not turns._held
    assert not turns._waiting
    return begun


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=12),
)
def test_everybody_gets_a_turn_and_no_place_is_lost(places, wanted):
    begun = asyncio.run(_story(places, wanted))
    stayed = [(client, size) for client, size, gone in wanted if not gone]
    assert all(begun.count(one) >= stayed.count(one) for one in stayed)


def test_the_smallest_of_a_client_first_and_clients_in_turn():
    wanted = [("a", 5, False), ("a", 9, False), ("a", 1, False), ("b", 7, False), ("b", 2, False)]
    assert asyncio.run(_story(1, wanted)) == [("a", 5), ("a", 1), ("b", 2), ("a", 9), ("b", 7)]


def test_who_comes_new_waits_for_nobody_elses_queue():
    begun = asyncio.run(_story(2, [*(("a", 1, False) for _ in range(20)), ("b", 99, False)]))
    assert begun.index(("b", 99)) == 1
    assert all(one[0] != two[0] or one[0] == "a" for one, two in pairwise(begun))
