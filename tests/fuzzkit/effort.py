"""Whether work grows evenly with its input: what a hostile input must not be able to change.

Processor time of this thread is compared with itself, so that other work on the machine takes no part.
"""

import time
from collections.abc import Callable

TIMES = 4  # as much input
MOST = 10.0  # as much work: evenly it is 4 times, by the square 16 times
TRIES = 3
LEAST_S = 0.0005  # less is measured as this: what is done at once grows by nothing that counts


def grows_evenly(work: Callable[[int], object], size: int) -> bool:
    """Return whether `work(4 * size)` costs about four times what `work(size)` does."""
    return any(_spent_s(work, TIMES * size) < MOST * max(LEAST_S, _spent_s(work, size)) for _ in range(TRIES))


def _spent_s(work: Callable[[int], object], size: int) -> float:
    began = time.thread_time()
    work(size)
    return time.thread_time() - began
