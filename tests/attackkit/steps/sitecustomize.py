"""In a process that is started with this folder on its path: notes how long the steps of its event loops are.

A step is one callback: nothing else is served meanwhile. Each one of `LEAST_S` and more is a line of JSON in
the file that SECONDLOOK_STEPS names: process, when it began (monotonic), seconds of the thread's processor
time (which a busy machine does not change, and without what collecting garbage took), and what it was.
"""

import asyncio
import contextlib
import gc
import json
import os
import threading
import time
from typing import Any

LEAST_S = 0.001

_STEPS = os.environ.get("SECONDLOOK_STEPS")
_run_step = asyncio.Handle._run
_collecting = threading.local()


def _note_collecting(phase: str, _: dict[str, int]) -> None:
    now = time.thread_time()
    if phase == "start":
        _collecting.began = now
    else:
        _collecting.took = getattr(_collecting, "took", 0.0) + now - _collecting.began


def _noted(handle: Any) -> None:
    began, at, collected = time.thread_time(), time.monotonic(), getattr(_collecting, "took", 0.0)
    what = repr(handle._callback)
    _run_step(handle)
    worked_s = time.thread_time() - began - (getattr(_collecting, "took", 0.0) - collected)
    if worked_s >= LEAST_S:
        line = json.dumps([os.getpid(), at, worked_s, what[:300]]) + "\n"
        with contextlib.suppress(OSError):
            os.write(_OUT, line.encode())


if _STEPS is not None:
    _OUT = os.open(_STEPS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    gc.callbacks.append(_note_collecting)
    setattr(asyncio.Handle, "_run", _noted)  # noqa: B010 - no method of ours, for the types
