"""Erasing a client: its events, its name everywhere else, and what it alone left behind.

```
events of the client ──► gone
what they were about ─┬─ somebody else met it too ──► stays, without the client's name; a file's place
                      │                               too, if no event shows that somebody else met it there
                      └─ nobody else is known to ───► history, queue, confirmed set: hashes only
                                                      events of how it ended: gone
exceptions it made for itself ──► gone
its shares of the counts ──► gone; of a user: which hosts its addresses were refused
```

Hashes stay where protection needs them: what was flagged is looked at again and what is bad stays blocked.
History and queue keep no user's name: for a user, what the log still holds is the only trace of who met what.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import batched
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import EVENT_FIELDS
from secondlook.core.event_field import Reveals
from secondlook.core.rules.client import ERASED, mention, network_of
from secondlook.core.subject import SubjectKind
from secondlook.ground.json_text import read_json
from secondlook.ledger.engine.change import bump
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import (
    confirmed,
    events,
    flagged,
    flagged_clients,
    history,
    pauses,
    quarantine,
    rules,
)
from secondlook.ledger.log import counting, search

_CHUNK: Final = 500
_ENDINGS: Final = ("confirmed", "late_verdict", "action", "withdrawn", "cleared", "expired")
_is_ending = sa.and_(
    # both, as the index on kinds leaves `check` out
    events.c.kind.in_(_ENDINGS),
    sa.literal_column("events.kind != 'check'"),
)
_WHERE: Final = ("url", "host", "filename")
_OF_A_VISIT: Final = {field.name for field in EVENT_FIELDS if field.reveals is not Reveals.NOTHING}

type DeleteEvents = Callable[[sa.ColumnElement[bool]], int]


def erase(store: Store, client: str, delete_events: DeleteEvents) -> int:
    """Erase what is kept of an address or a user; return how many events of its own went."""
    named, is_user = events.c.client == client, network_of(client) is None
    if is_user:  # no index, and an address is nobody's
        named = sa.or_(named, events.c.user == client)
    own = store.read(lambda connection: _own(connection, client, named))
    used = store.read(lambda connection: _used(connection, named)) if is_user else set()
    store.commit_now(lambda connection: counting.erase(connection, client, used))
    gone = delete_events(named)
    store.commit_now(lambda connection: _erase_name(connection, client, store.clock.now()))
    endings = store.read(lambda connection: _ended(connection, own))
    ended = store.read(lambda connection: _alone(connection, endings, is_user=is_user))
    store.commit_now(lambda connection: _forget_places(connection, own, is_user=is_user))
    for part in _chunks(ended):
        delete_events(sa.and_(_is_ending, events.c.client.is_(None), events.c.identity.in_(part)))
    for part in _chunks(endings - ended):
        store.commit_now(partial(_forget_places_of_endings, part=part))
    store.changes.stale()
    return gone


def _own(connection: sa.Connection, client: str, named: sa.ColumnElement[bool]) -> set[bytes]:
    """Everything that the client met, by its identity."""
    return {
        bytes(identity)
        for query in (
            sa.select(events.c.identity).distinct().where(named),
            sa.select(history.c.identity).where(history.c.client == client),
            sa.select(flagged_clients.c.identity).where(flagged_clients.c.client == client),
            sa.select(quarantine.c.identity).where(quarantine.c.client == client),
        )
        for identity in connection.execute(query).scalars()
        if identity is not None
    }


def _used(connection: sa.Connection, named: sa.ColumnElement[bool]) -> set[str]:
    """From which addresses a user came."""
    query = sa.select(events.c.client).distinct().where(named, events.c.client.is_not(None))
    return set(connection.execute(query).scalars())


def _erase_name(connection: sa.Connection, client: str, now: float) -> None:
    """Take the client's name off everything that stays."""
    connection.execute(sa.delete(flagged_clients).where(flagged_clients.c.client == client))
    connection.execute(sa.update(history).where(history.c.client == client).values(client=None))
    connection.execute(
        sa.update(quarantine).where(quarantine.c.client == client).values(client=None, url=None)
    )
    connection.execute(sa.delete(pauses).where(pauses.c.client == client, pauses.c.until < now))
    made = connection.execute(sa.select(rules.c.id, rules.c.client).where(rules.c.source == "override"))
    exceptions = [rule_id for rule_id, name in made if name is not None and _is_about(name, client)]
    if exceptions:
        connection.execute(sa.delete(rules).where(rules.c.id.in_(exceptions)))
        bump(connection, "rules")
    _erase_mentions(connection, client)


def _is_about(name: str, client: str) -> bool:
    user, _, place = name.rpartition("@")
    return client in (name, user, place)


def _ended(connection: sa.Connection, own: Collection[bytes]) -> set[bytes]:
    """What the client met and whose end stands in an event."""
    query = sa.select(events.c.identity).distinct().where(_is_ending, events.c.client.is_(None))
    return _among(connection.execute(query).scalars(), own)


def _forget_places(connection: sa.Connection, own: Collection[bytes], *, is_user: bool) -> None:
    """Leave hashes alone of what nobody else met, in history, queue and confirmed set."""
    nowhere: dict[str, Any] = dict.fromkeys(_WHERE)
    for table in (history, flagged):
        for part in batched(sorted(own), _CHUNK):
            here = connection.execute(sa.select(table.c.identity).where(table.c.identity.in_(part)))
            for alone in _chunks(_alone(connection, _among(here.scalars(), own), is_user=is_user)):
                connection.execute(sa.update(table).where(table.c.identity.in_(alone)).values(nowhere))
            connection.execute(sa.update(table).where(_own_place(table, part)).values(nowhere))
    query = sa.select(confirmed.c.identity, confirmed.c.hit, confirmed.c.sha256)
    met = {  # a file's URL is refused for a while under an identity of its own
        bytes(identity): keys
        for identity, hit, sha256 in connection.execute(query)
        if (keys := {bytes(identity), bytes(hit), bytes.fromhex(sha256 or "")} & set(own))
    }
    unshared = _alone(connection, {key for keys in met.values() for key in keys}, is_user=is_user)
    for part in batched(sorted(own), _CHUNK):
        placed = sa.select(confirmed.c.identity).where(_own_place(confirmed, part))
        unshared |= _among(connection.execute(placed).scalars(), own)
    only = sorted(identity for identity, keys in met.items() if keys <= unshared)
    if only:
        values = nowhere | {"expression": None, "change": bump(connection, "confirmed")}
        for part in _chunks(only):
            connection.execute(sa.update(confirmed).where(confirmed.c.identity.in_(part)).values(values))


def _own_place(table: sa.Table, part: Collection[bytes]) -> sa.ColumnElement[bool]:
    """Files among `part` that others met too, but nobody who is still named at the place in the table."""
    met_there = sa.select(events.c.seq).where(
        events.c.identity == table.c.identity, events.c.client.is_not(None), events.c.url == table.c.url
    )
    placed = sa.and_(table.c.identity.in_(part), table.c.kind == "file", table.c.url.is_not(None))
    another = table.c.client.is_(None) if table is history else sa.true()
    return sa.and_(placed, another, ~sa.exists(met_there))


def _forget_places_of_endings(connection: sa.Connection, part: Collection[bytes]) -> None:
    """Take out of events of how files ended the place where nobody who is still named met them."""
    met = events.alias()
    met_there = sa.select(met.c.seq).where(
        met.c.identity == events.c.identity, met.c.client.is_not(None), met.c.url == events.c.url
    )
    query = sa.select(events.c.seq, *search.TEXT_COLUMNS).where(
        _is_ending,
        events.c.client.is_(None),
        events.c.identity.in_(part),
        events.c.subject == SubjectKind.FILE.value,
    )
    rows = connection.execute(query.where(events.c.url.is_not(None), ~sa.exists(met_there))).mappings().all()
    nowhere: dict[str, Any] = dict.fromkeys(_WHERE)
    search.replace(
        connection, [(row["seq"], search.text_of(row), search.text_of({**row, **nowhere})) for row in rows]
    )
    for seqs in batched([row["seq"] for row in rows], _CHUNK):
        connection.execute(sa.update(events).where(events.c.seq.in_(seqs)).values(nowhere))


def _alone(connection: sa.Connection, identities: Iterable[bytes], *, is_user: bool) -> set[bytes]:
    """Those of which nothing shows that anybody who is still named met them."""
    alone = set(identities)
    for part in _chunks(alone):
        met = sa.select(events.c.identity).distinct()
        met = met.where(events.c.client.is_not(None), events.c.identity.in_(part))
        alone -= _among(connection.execute(met).scalars(), alone)
        if is_user:
            continue
        waits = sa.select(flagged_clients.c.identity).where(flagged_clients.c.identity.in_(part))
        alone -= _among(connection.execute(waits).scalars(), alone)
        about = sa.select(events.c.identity, events.c.extra).where(_is_ending, events.c.identity.in_(part))
        alone -= {bytes(identity) for identity, extra in connection.execute(about) if _names_others(extra)}
    return alone


def _names_others(extra: str | None) -> bool:
    values = read_json(extra) if extra else None
    clients = values.get("clients") if isinstance(values, dict) else None
    return isinstance(clients, list) and any(client != ERASED for client in clients)


def _among(identities: Iterable[bytes | None], wanted: Collection[bytes]) -> set[bytes]:
    return {bytes(identity) for identity in identities if identity is not None} & set(wanted)


def _chunks(identities: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    return batched(sorted(identities), _CHUNK)


def without_name(value: Any, name: re.Pattern[str]) -> Any:
    """Take a client's name out of every text of a JSON value."""
    match value:
        case str():
            return name.sub(ERASED, value)
        case list():
            return [without_name(each, name) for each in value]
        case dict():
            return {key: without_name(each, name) for key, each in value.items()}
        case _:
            return value


def without_visit(record: Any, client: str) -> Any:
    """Take a client out of a record of a flag that this program cannot read.

    Of its own visit nothing readable stays where a field has a name that is known, as in the ledger.
    """
    return without_name(_unvisited(record) if _is_of(record, client) else record, mention(client))


def _is_of(value: Any, client: str) -> bool:
    """Return whether a visit of the client is in a JSON value."""
    match value:
        case list():
            return any(_is_of(each, client) for each in value)
        case dict():
            names = (value.get("client"), value.get("user"))
            named = any(isinstance(name, str) and _is_about(name, client) for name in names)
            return named or any(_is_of(each, client) for each in value.values())
        case _:
            return False


def _unvisited(value: Any) -> Any:
    """Leave out of a JSON value what shows who visited what."""
    match value:
        case list():
            return [_unvisited(each) for each in value]
        case dict():
            return {key: _unvisited(each) for key, each in value.items() if key not in _OF_A_VISIT}
        case _:
            return value


def _erase_mentions(connection: sa.Connection, client: str) -> None:
    """Take a client's name out of events about others' visits ("got through: 10.0.0.7 at …")."""
    like = "%" + client.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    query = sa.select(events.c.seq, events.c.detail, events.c.extra).where(
        _is_ending,
        sa.or_(events.c.detail.like(like, escape="\\"), events.c.extra.like(like, escape="\\")),
    )
    name = mention(client)
    for seq, detail, extra in connection.execute(query).all():
        connection.execute(
            sa.update(events)
            .where(events.c.seq == seq)
            .values(
                detail=None if detail is None else name.sub(ERASED, detail),
                extra=None if extra is None else name.sub(ERASED, extra),
            )
        )
