"""Children that hang: how long each has been silent, and from when on it is given up. Standard library only.

From the moment it is ready, the event loop of a child writes an empty line to its pipe every BEAT_S. Whatever
is heard ends its silence.

```
starting: lists, migrations, mending   not counted: it beats from `ready` on
ready, also while others replace it    counted; at the limit it hangs: killed, and started again
draining                               not counted: it has its own time (`Child.stop`)
a debugger holds it                    not counted: somebody looks at it
```

Silence is the sum of what passes between two rounds of the supervisor, at most STEP_S of each. So it is time
in which the supervisor itself ran: where the machine slept, the whole family was stopped, or a busy machine
let nobody run, a round counts as one step, and what children wrote meanwhile is heard before it counts.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from secondlook.run.supervisor.child import Child

BEAT_S: Final = 1.0
STEP_S: Final = 1.0
_TRACER = re.compile(rb"^TracerPid:\s*(\d+)$", re.MULTILINE)


def is_traced(pid: int) -> bool:
    """Return whether a debugger holds a process, where the system says so (proc(5))."""
    try:
        tracer = _TRACER.search(Path(f"/proc/{pid}/status").read_bytes())
    except OSError:
        return False
    return tracer is not None and tracer[1] != b"0"


class Heartbeats:
    """Counts the silence of children, and which of them hung since the start."""

    def __init__(self, now: float, traced: Callable[[int], bool] = is_traced) -> None:
        self._before = now
        self._traced = traced
        self._hung: Counter[str] = Counter()  # by role
        self._last: dict[str, Any] | None = None

    def silent(self, children: Sequence[Child], now: float, limit_s: float) -> list[Child]:
        """Count one round and return the children that have been silent for the limit."""
        step_s = min(max(0.0, now - self._before), STEP_S)
        self._before = now
        found = []
        for child in children:
            if child.process is None or not child.ready or child.stopping or child.hung:
                continue
            child.silent_s += step_s
            if child.silent_s < limit_s:
                continue
            if self._traced(child.process.pid):
                child.silent_s = 0.0
            else:
                found.append(child)
        return found

    def note(self, child: Child) -> None:
        """Remember that a child hung."""
        self._hung[child.role] += 1
        self._last = {"process": child.name, "at": time.time()}

    def summary(self) -> dict[str, Any]:
        """Return what `run.json` shows: how many hung since the start by role, and which was the last."""
        return {"count": dict(self._hung), "last": self._last}
