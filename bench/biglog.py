"""A large event log for the benchmarks: invented months of browsing, put in as fast as the engine takes it.

The first part goes through the ledger's own writing of events, in large transactions; more is made by copying
those rows inside the database, later each time, and the search index is fed as housekeeping does.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, batched

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.ulid import ALPHABET, make_id
from secondlook.ledger.engine.tables import events, marks
from secondlook.ledger.ledger import Ledger
from secondlook.ledger.log import search
from secondlook.ledger.log.append import insert_events
from secondlook.ledger.log.counting import Admission, add_counts, counted

PART = 100_000
RARE_HOST = "rare.example"
RARE_CLIENT = "10.9.9.9"
GAP_S = 2.0
_BATCH = 10_000
_HOSTS = [f"host{number}.example" for number in range(20_000)]
_CLIENTS = [f"10.0.0.{number}" for number in range(40)]
_KINDS = {
    EventKind.CHECK: 9400,
    EventKind.BLOCKED: 400,
    EventKind.FLAGGED: 190,
    EventKind.CONFIRMED: 8,
    EventKind.SERVER: 2,
}
_DECISIONS = {EventKind.CHECK: "allow", EventKind.BLOCKED: "block", EventKind.FLAGGED: "flag"}
_THREATS = {"malware": 60, "social_engineering": 39, "unwanted_software": 1}
_STAGES = {"cache": 62, "query": 28, "pattern": 8, "known_good": 2}


def _zipf(count: int) -> list[float]:
    return list(accumulate(1 / rank for rank in range(1, count + 1)))


def invent(count: int, first: float) -> Iterator[Event]:
    """Events that follow each other from `first` (Unix seconds) on; a few hosts have most of them."""
    chance = random.Random(1)
    hosts, clients = _zipf(len(_HOSTS)), _zipf(len(_CLIENTS))
    kinds = chance.choices(list(_KINDS), list(_KINDS.values()), k=count)
    stages = chance.choices(list(_STAGES), list(_STAGES.values()), k=count)
    for number, (kind, stage) in enumerate(zip(kinds, stages, strict=True)):
        host = chance.choices(_HOSTS, cum_weights=hosts)[0]
        client = chance.choices(_CLIENTS, cum_weights=clients)[0]
        if number == count // 3:
            host, client = RARE_HOST, RARE_CLIENT
        bad = kind in (EventKind.BLOCKED, EventKind.CONFIRMED)
        unknown = kind is EventKind.FLAGGED
        at = first + number * GAP_S
        yield Event(
            id=make_id(at),
            kind=kind,
            time=at,
            decision=_DECISIONS.get(kind),
            cls=SubjectClass.PAGE,
            subject=SubjectKind.URL,
            url=f"https://{host}/path/{number:08}?q={chance.random():.15f}",
            host=host,
            method="GET",
            client=client,
            verdict="malicious" if bad else "unknown" if unknown else "safe",
            risk="dangerous" if bad else "untested" if unknown else "none",
            threat=chance.choices(list(_THREATS), list(_THREATS.values()))[0] if bad else None,
            stage="unverifiable" if unknown else "pattern" if bad else stage,
            list="mw-8b" if bad else None,
            elapsed_ms=0.04,
            attempts=0,
        )


def fill(ledger: Ledger, count: int) -> None:
    """Put `count` events in (at most 22 million; whole parts beyond the first)."""
    original = min(count, PART)
    admission = Admission()
    for batch in batched(invent(original, time.time() - count * GAP_S), _BATCH):
        ledger.store.commit_now(
            lambda connection, batch=batch: (
                insert_events(connection, batch),
                add_counts(connection, Counter(map(counted, batch)), admission),
            )
        )
    for number in range(1, count // PART):
        _copy(ledger, number)
    _mark_and_count(ledger)
    if ledger.store.place.sqlite:
        while ledger.store.commit_now(lambda connection: search.add_next(connection, _BATCH)):
            for _ in range(20):
                if not ledger.store.commit_now(search.merge):
                    break
        ledger.upkeep.checkpoint()


def _copy(ledger: Ledger, number: int) -> None:
    """Copy the first part, later by as long as it took; ids differ in their first two places."""
    first, second = divmod(number + 31, 32)  # from 10 on: ids of our time begin with 01
    changed = {
        "id": f"'{first}{ALPHABET[second]}' || substr(id, 3)",
        "time": f"time + {number * PART * GAP_S}",
    }
    names = [column.name for column in events.c if column.name != "seq"]
    quoted = [f'"{name}"' for name in names]
    values = [changed.get(name, f'"{name}"') for name in names]
    ledger.store.commit_now(
        lambda connection: connection.exec_driver_sql(
            f"INSERT INTO events ({', '.join(quoted)}) SELECT {', '.join(values)} "
            f"FROM events WHERE seq <= {PART} ORDER BY seq"
        )
    )


def _mark_and_count(ledger: Ledger) -> None:
    """Write the marks and the tallies of hours for what was copied."""
    hour = sa.cast(sa.func.floor(events.c.time / 3600), sa.BigInteger)
    missing = sa.select(hour, sa.func.min(events.c.seq), sa.func.max(events.c.seq)).where(events.c.seq > PART)

    def work(connection: sa.Connection) -> None:
        for at, low, high in connection.execute(missing.group_by(hour)).all():
            connection.execute(sa.delete(marks).where(marks.c.hour == at))
            connection.execute(sa.insert(marks).values(hour=at, first_seq=low, last_seq=high))

    ledger.store.commit_now(work)
