"""How one query tries the servers of a tier inside one budget: a machine without I/O.

**Theory.** A query (one batch of prefixes) may be sent several times: to another server after a
failure, to the same one when there is no other, and once as a *hedge* beside a first attempt that
is slower than that server's usual 95th percentile. The plan decides which request to start, which
to give up and when to look again; whoever drives it does the sending. Time comes in with each
call, randomness came in with the order of the servers.

Two rules hold whatever happens:

1. nothing is started at or after `deadline`, nothing runs past it, and never more than `attempts`
   requests are started for one query (hedges count);
2. no server is tried again while another one that may be asked now has been tried less often.

A server *may be asked* from the instant that `ready_at` names (circuit closed, not slowed down by
429), and after a failure in this query only `pause_s` later, so that three attempts at a single
server that is just restarting do not fall within one millisecond.

```
state      event                               commands                         next state
new        tick, a server may be asked         Begin                            asking
new        tick, one may be asked later        -                                waiting
new        tick, none may be asked             Finish("circuit open")           done
asking     answered                            Cancel others, Finish(attempt)   done
asking     failed or timed out, others run     (Cancel)                         asking
asking     failed or timed out, none runs      (Cancel), as for `waiting`       asking|waiting|done
asking     tick, hedge due, untried server     Begin(hedge)                     asking
waiting    tick, a server may be asked         Begin                            asking
waiting    attempts used, or nobody in time    Finish("no answer")              done
any        tick at or after the deadline       Cancel all, Finish("timeout")    done
done       any                                 -                                done
```
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

PAUSE_S: Final = 0.05
SAMPLES: Final = 64  # latencies remembered for each server
MIN_SAMPLES: Final = 20  # fewer are no basis for a 95th percentile
MIN_HEDGE_S: Final = 0.005  # below that a second request costs more than it saves
HEDGE_SHARE: Final = 0.1  # hedges per query in the long run
MAX_HEDGE_CREDIT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Begin:
    """Start request number `attempt` at a server (its index); give it up at `timeout_at`."""

    attempt: int
    server: int
    timeout_at: float
    hedge: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give up a running request; `timed_out`: its own timeout, not another one's answer."""

    attempt: int
    server: int
    timed_out: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """The query is over: answered by `attempt`, or unanswered for `reason`."""

    attempt: int | None
    reason: str | None


type Command = Begin | Cancel | Finish


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one query; `deadline` is monotonic, durations are seconds."""

    deadline: float
    attempts: int = 3
    attempt_timeout_s: float = 0.5
    pause_s: float = PAUSE_S


def arrange(count: int, draws: Sequence[float] | None) -> tuple[int, ...]:
    """Order of `count` servers: as listed, or shuffled by one random draw for each."""
    if draws is None:
        return tuple(range(count))
    return tuple(sorted(range(count), key=draws.__getitem__))


class AttemptPlan:
    """One query's attempts (see the table above).

    `order` holds server indices, first choice first. `ready_at(server)` gives the monotonic instant
    from which a server may be asked, None while its circuit is open. `hedge_after_s[server]` is how
    long a first request may take before a second one is sent elsewhere, None for never.
    """

    __slots__ = ("_failed_at", "_hedge_after_s", "_hedge_at", "_limits", "_order", "_ready_at", "_running",
                 "_tries", "done", "started", "wake_at")  # fmt: skip

    def __init__(
        self,
        order: Sequence[int],
        limits: Limits,
        *,
        ready_at: Callable[[int], float | None],
        hedge_after_s: Sequence[float | None] = (),
    ) -> None:
        self._order = order
        self._limits = limits
        self._ready_at = ready_at
        self._hedge_after_s = hedge_after_s
        self._running: dict[int, Begin] = {}
        self._tries: dict[int, int] = {}
        self._failed_at: dict[int, float] = {}
        self._hedge_at: float | None = None
        self.started = 0
        self.done = False
        self.wake_at: float | None = None  # call `tick` then; None once done

    def tick(self, now: float) -> list[Command]:
        """Start the query, or look again: `wake_at` has come."""
        if self.done:
            return []
        if now >= self._limits.deadline:
            return self._finish(None, "timeout")
        commands: list[Command] = []
        for begun in [b for b in self._running.values() if b.timeout_at <= now]:
            del self._running[begun.attempt]
            self._failed_at[begun.server] = now
            commands.append(Cancel(begun.attempt, begun.server, timed_out=True))
        if self._running:
            commands.extend(self._hedge(now))
        else:
            commands.extend(self._next(now))
        return commands

    def answered(self, attempt: int) -> list[Command]:
        """Take a usable answer; however late it is, an answer in hand is never thrown away."""
        if self.done or self._running.pop(attempt, None) is None:
            return []
        return self._finish(attempt, None)

    def failed(self, attempt: int, now: float) -> list[Command]:
        """Note that an attempt brought no usable answer."""
        begun = self._running.pop(attempt, None)
        if self.done or begun is None:
            return []
        self._failed_at[begun.server] = now
        return self.tick(now)

    def _finish(self, attempt: int | None, reason: str | None) -> list[Command]:
        commands: list[Command] = [
            Cancel(begun.attempt, begun.server, timed_out=attempt is None) for begun in self._running.values()
        ]
        self._running.clear()
        self.done = True
        self.wake_at = None
        commands.append(Finish(attempt, reason))
        return commands

    def _next(self, now: float) -> list[Command]:
        if self.started >= self._limits.attempts:
            return self._finish(None, "no answer")
        best: int | None = None
        soonest: float | None = None
        for server in self._order:
            ready = self._ready(server)
            if ready is None:
                continue
            if ready > now:
                soonest = ready if soonest is None else min(soonest, ready)
            elif best is None or self._tries.get(server, 0) < self._tries.get(best, 0):
                best = server
        if best is not None:
            return [self._start(best, now, hedge=False)]
        if soonest is None:
            return self._finish(None, "no answer" if self.started else "circuit open")
        if soonest >= self._limits.deadline:
            return self._finish(None, "no answer" if self.started else "slowed down")
        self.wake_at = soonest
        return []

    def _hedge(self, now: float) -> list[Command]:
        if self._hedge_at is not None and now >= self._hedge_at:
            self._hedge_at = None
            if self.started < self._limits.attempts:
                for server in self._order:
                    ready = self._ready(server)
                    if server not in self._tries and ready is not None and ready <= now:
                        return [self._start(server, now, hedge=True)]
        self._set_wake()
        return []

    def _ready(self, server: int) -> float | None:
        ready = self._ready_at(server)
        failed_at = self._failed_at.get(server)
        if ready is None or failed_at is None:
            return ready
        return max(ready, failed_at + self._limits.pause_s)

    def _start(self, server: int, now: float, *, hedge: bool) -> Begin:
        begun = Begin(
            self.started, server, min(now + self._limits.attempt_timeout_s, self._limits.deadline), hedge
        )
        self._running[begun.attempt] = begun
        self._tries[server] = self._tries.get(server, 0) + 1
        after_s = self._hedge_after_s[server] if self.started == 0 and self._hedge_after_s else None
        self._hedge_at = None if after_s is None else now + after_s
        self.started += 1
        self._set_wake()
        return begun

    def _set_wake(self) -> None:
        wake = min(begun.timeout_at for begun in self._running.values())
        self.wake_at = wake if self._hedge_at is None else min(wake, self._hedge_at)


class LatencyWindow:
    """The last answer times of one server, in seconds, for its usual 95th percentile."""

    __slots__ = ("_age", "_samples", "p95_s")

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self.p95_s: float | None = None  # until enough answers were seen
        self._age = 0

    def add(self, elapsed_s: float) -> None:
        """Note one answer time; the percentile is worked out again at every eighth."""
        self._samples.append(elapsed_s)
        self._age += 1
        if self._age % 8 == 0 and len(self._samples) >= MIN_SAMPLES:
            ranked = sorted(self._samples)
            self.p95_s = max(MIN_HEDGE_S, ranked[(len(ranked) * 95) // 100])


class HedgeCredit:
    """Keeps hedges to a share of all queries, so that a busy tier is not asked twice for everything."""

    __slots__ = ("_credit",)

    def __init__(self) -> None:
        self._credit = 1.0

    def earn(self) -> bool:
        """Count one query; whether it may be hedged."""
        self._credit = min(MAX_HEDGE_CREDIT, self._credit + HEDGE_SHARE)
        return self._credit >= 1.0

    def spend(self) -> None:
        """Count one hedge that was sent."""
        self._credit -= 1.0
