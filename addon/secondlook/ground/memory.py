"""Memory that was taken for a moment goes back to the system when it is free again."""

import ctypes
import threading
import time
from typing import Final, NoReturn

GIVE_BACK_EVERY_S: Final = 60.0
_FREED_S: Final = 0.1  # until what was dropped is free, and between two times at the least
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_dropped: Final = threading.Event()
_LARGE_BYTES = 512 << 10
"""More than asyncio has room made for with each read (256 KiB), which would take ten times as long."""


def give_back_large() -> None:
    """Have large pieces of memory given back as soon as they are free, for as long as this process lives.

    glibc takes them from the system one by one and gives them back so, but with each that is freed it raises
    the size from which on it does: after a list of some megabytes was taken apart, pieces of up to 32 MiB lie
    on its heap and leave holes there. Naming the size ends that. It costs the clearing of fresh pages, which
    is little beside reading a list, and much beside carrying a download. Other libraries know no such call.
    """
    _set(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    _set(_M_TRIM_THRESHOLD, 2 * _LARGE_BYTES)  # as glibc does where it learns


def share_heaps() -> None:
    """Have all threads of this process take memory from two heaps.

    glibc gives each new thread a heap of its own, up to eight for each processor, and none of them takes what
    is free in another: each thread adds some MiB for good. They are there for programs whose threads allocate
    at the same time, which those of an interpreter hardly do.
    """
    _set(_M_ARENA_MAX, 2)


def give_back_free() -> None:
    """Give the system all pages of the heaps that are free: a millisecond or a few. It is a call of glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_giving_back(every_s: float = GIVE_BACK_EVERY_S) -> None:
    """Give back what is free again and again, on a thread of its own, for as long as this process lives.

    Left alone, a heap keeps what its busiest moment took as long as anything lies above it.
    """

    def work() -> NoReturn:
        while True:
            if _dropped.wait(every_s):
                _dropped.clear()
                time.sleep(_FREED_S)
            give_back_free()

    threading.Thread(target=work, name="free memory", daemon=True).start()


def give_back_soon() -> None:
    """Have what is dropped in this moment given back at once, where something keeps giving back."""
    _dropped.set()


def _set(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
