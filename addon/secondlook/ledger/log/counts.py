"""Counts of what leaves no event, or whose event is written first: in memory, written every few seconds."""

import threading
from collections import Counter
from concurrent.futures import Future

import sqlalchemy as sa

from secondlook.core.event import EventKind
from secondlook.ledger.engine.store import Store
from secondlook.ledger.log import append
from secondlook.ledger.log.counting import SLOT_S, Admission, Counted, Look, add_counts, asked
from secondlook.ledger.log.privacy import Discretion, Privacy


class Counts:
    """Checks, looks at servers and hits of rules that are counted only, and what flags count towards.

    `admission` is shared with the events' own counts.
    """

    def __init__(self, store: Store, discretion: Discretion, admission: Admission) -> None:
        self._store = store
        self._clock = store.clock
        self._discretion = discretion
        self._admission = admission
        self._lock = threading.Lock()
        self._checks: Counter[Counted] = Counter()
        self._hits: Counter[str] = Counter()
        self._looks: Counter[Look] = Counter()

    def tally(
        self,
        kind: EventKind,
        decision: str | None,
        stage: str | None,
        *,
        client: str | None = None,
        host: str | None = None,
        server: str | None = None,
        elapsed_ms: float | None = None,
        gateway: str | None = None,
        at: float | None = None,
    ) -> None:
        """Count a check of which no event is kept; microseconds, never blocks.

        Whether its client and gateway count depends on `host`: of an ignored one nobody is to know who asked.
        """
        slot = int((self._clock.now() if at is None else at) // SLOT_S)
        if self._discretion.level_of(host) >= Privacy.COUNTS:
            client = gateway = None
        stage = stage or ""
        one = Counted(
            slot,
            str(kind),
            decision or "",
            stage,
            client or "",
            *asked(stage, server, elapsed_ms),
            gateway=gateway or "",
        )
        with self._lock:
            self._checks[one] += 1

    def add(self, counts: Counter[Counted]) -> None:
        """Add what events count towards that are written already; never blocks."""
        with self._lock:
            self._checks.update(counts)

    def count_hit(self, rule_id: str) -> None:
        """Count a hit of an operator rule whose check is not recorded; never blocks."""
        with self._lock:
            self._hits[rule_id] += 1

    def look(self, server: str, *, answered: bool) -> None:
        """Count a look at a server, whether it answers or is away; never blocks."""
        with self._lock:
            self._looks[Look(int(self._clock.now() // SLOT_S), server, answered)] += 1

    def flush(self) -> Future[None] | None:
        """Hand the counts to the writer; they go back into memory when it fails. None: there are none."""
        with self._lock:
            checks, self._checks = self._checks, Counter()
            hits, self._hits = self._hits, Counter()
            looks, self._looks = self._looks, Counter()
        if not checks and not hits and not looks:
            return None

        def work(connection: sa.Connection) -> None:
            add_counts(connection, checks, self._admission, looks)
            append.add_hits(connection, hits)

        future = self._store.writer.submit(work, durable=False)

        def give_back(done: Future[None]) -> None:
            if done.exception() is not None:
                with self._lock:
                    self._checks.update(checks)
                    self._hits.update(hits)
                    self._looks.update(looks)

        future.add_done_callback(give_back)
        return future
