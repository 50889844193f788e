"""A child never outlives its supervisor. Standard library only.

Linux sends the child a signal (`PR_SET_PDEATHSIG`, prctl(2)); elsewhere a thread watches the parent.
"""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.5


def tether(parent: int) -> None:
    """Die with the process `parent` (a process id); exits at once when it is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), name="tether", daemon=True).start()
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)
