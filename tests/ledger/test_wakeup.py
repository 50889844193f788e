"""Slots from event loops to a thread: answered in groups, never twice, never to a loop that is gone."""

import asyncio
import threading

import pytest

from secondlook.ledger.engine.wakeup import Waiting, answer


async def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0)
    thread.join()


def test_slots_come_in_order_and_no_more_than_asked_for():
    async def story():
        waiting = Waiting()
        slots = [waiting.put(number) for number in range(5)]
        assert len(waiting) == 5
        slots[1].abandoned = True
        first = waiting.take(3)
        rest = waiting.take(3)
        assert [slot.value for slot in first] == [0, 2, 3]
        assert [slot.value for slot in rest] == [4]
        assert not waiting
        answer([*first, *rest])
        await asyncio.gather(*(slot.answer for slot in (*first, *rest)))
        assert not slots[1].answer.done()

    asyncio.run(story())


def test_an_error_reaches_everybody_of_the_group_and_a_second_answer_nobody():
    async def story():
        waiting = Waiting()
        slots = [waiting.put(number) for number in range(3)]
        await in_thread(lambda: answer(slots, ValueError("no")))
        await in_thread(lambda: answer(slots))
        found = await asyncio.gather(*(slot.answer for slot in slots), return_exceptions=True)
        assert [str(one) for one in found] == ["no"] * 3

    asyncio.run(story())


def test_a_loop_that_is_gone_does_not_keep_others_from_their_answer():
    waiting = Waiting()

    async def leave():
        waiting.put("gone")

    asyncio.run(leave())

    async def stay():
        slot = waiting.put("here")
        answer(waiting.take(10))
        await slot.answer

    asyncio.run(stay())


def test_one_who_left_is_passed_over_when_the_answer_comes():
    async def story():
        waiting = Waiting()
        gone, here = waiting.put(1), waiting.put(2)
        gone.answer.cancel()
        answer(waiting.take(2))
        await here.answer
        with pytest.raises(asyncio.CancelledError):
            gone.answer.result()

    asyncio.run(story())
