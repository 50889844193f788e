"""Memory that was taken for a moment goes back to the system when it is free again."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
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


def _set(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
