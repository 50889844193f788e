"""The tables of the ledger, for both engines (SQLite and PostgreSQL).

`events.seq` is the order of writing: pages and the live tail follow it, and on SQLite it is the
rowid, so that every secondary index is an index by time as well. `marks` holds for each hour which
`seq` its events have, so that a search in time needs no index on time. `changes` counts the changes
of each topic that processes keep in memory.
"""

from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import EVENT_FIELDS
from secondlook.core.event_field import Form

metadata = sa.MetaData()

_Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Blob = sa.LargeBinary()
_Instant: sa.Double[float] = sa.Double()

_TYPES: Final[dict[Form, sa.types.TypeEngine[Any]]] = {
    Form.CODE: sa.Text(),
    Form.WORD: sa.Text(),
    Form.TEXT: sa.Text(),
    Form.URL: sa.Text(),
    Form.MOMENT: _Instant,
    Form.MILLISECONDS: sa.Double(),
    Form.SIZE: sa.BigInteger(),
    Form.COUNT: sa.Integer(),
    Form.FLAG: sa.Boolean(),
    Form.DIGEST: _Blob,
    Form.JSON: sa.Text(),
}

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    *(sa.Column(field.name, _TYPES[field.form], nullable=field.optional) for field in EVENT_FIELDS),
    sqlite_autoincrement=True,
)
sa.Index("events_id", events.c.id, unique=True)
sa.Index("events_host", events.c.host, events.c.seq)
sa.Index("events_client", events.c.client, events.c.seq)
sa.Index("events_stage", events.c.stage, events.c.seq)
# The migrations give these the same conditions in PostgreSQL; naming that here too would import its modules,
# of which a ledger in SQLite has no use.
sa.Index("events_kind", events.c.kind, events.c.seq, sqlite_where=events.c.kind != "check")
sa.Index("events_decision", events.c.decision, events.c.seq, sqlite_where=events.c.decision != "allow")
sa.Index("events_threat", events.c.threat, events.c.seq, sqlite_where=events.c.threat.is_not(None))
sa.Index(
    "events_identity",
    events.c.identity,
    sqlite_where=sa.and_(events.c.identity.is_not(None), events.c.decision != "block"),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_seq", sa.BigInteger, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
)

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("decision", sa.Text, primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)

shares = sa.Table(
    "shares",
    metadata,
    sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("of", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

flagged = sa.Table(
    "flagged",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("identity", _Blob, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("class", sa.Text, nullable=False),
    sa.Column("hashes", _Blob, nullable=False),
    sa.Column("labels", sa.Text),
    sa.Column("url", sa.Text),
    sa.Column("host", sa.Text),
    sa.Column("sha256", sa.Text),
    sa.Column("filename", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("first_seen", _Instant, nullable=False),
    sa.Column("last_seen", _Instant, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt", _Instant, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("lease_until", _Instant),
)
sa.Index("flagged_due", flagged.c.first_seen, flagged.c.next_attempt, flagged.c.lease_until)

flagged_clients = sa.Table(
    "flagged_clients",
    metadata,
    sa.Column("identity", _Blob, primary_key=True),
    sa.Column("client", sa.Text, primary_key=True),
)

confirmed = sa.Table(
    "confirmed",
    metadata,
    sa.Column("identity", _Blob, primary_key=True),
    sa.Column("hit", _Blob, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("risk", sa.Text, nullable=False),
    sa.Column("threat", sa.Text),
    sa.Column("list", sa.Text),
    sa.Column("server", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("confirmed_at", _Instant, nullable=False),
    sa.Column("expires_at", _Instant),
    sa.Column("url", sa.Text),
    sa.Column("host", sa.Text),
    sa.Column("sha256", sa.Text),
    sa.Column("filename", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("expression", sa.Text),
    sa.Column("tier", sa.Text),
    sa.Column("class", sa.Text),
    sa.Column("withdrawn_at", _Instant),
    sa.Column("change", sa.BigInteger, nullable=False),
)
sa.Index("confirmed_change", confirmed.c.change)
sa.Index("confirmed_expires", confirmed.c.expires_at)

rules = sa.Table(
    "rules",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("client", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("created", _Instant, nullable=False),
    sa.Column("expires", _Instant),
    sa.Column("hits", sa.BigInteger, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
)

pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("client", sa.Text),
    sa.Column("created", _Instant, nullable=False),
    sa.Column("until", _Instant, nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("stored_as", sa.Text, nullable=False),
    sa.Column("mode", sa.Integer, nullable=False),
    sa.Column("modified_at", _Instant, nullable=False),
    sa.Column("moved_at", _Instant, nullable=False),
    sa.Column("threat", sa.Text),
    sa.Column("list", sa.Text),
    sa.Column("url", sa.Text),
    sa.Column("client", sa.Text),
    sa.Column("identity", _Blob),
    sa.Column("detail", sa.Text),
    sa.Column("proxy", sa.Text),
)
sa.Index("quarantine_sha256", quarantine.c.sha256)

history = sa.Table(
    "history",
    metadata,
    sa.Column("identity", _Blob, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("class", sa.Text, nullable=False),
    sa.Column("hashes", _Blob, nullable=False),
    sa.Column("time", _Instant, nullable=False),
    sa.Column("url", sa.Text),
    sa.Column("host", sa.Text),
    sa.Column("client", sa.Text),
    sa.Column("sha256", sa.Text),
    sa.Column("filename", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("lease_until", _Instant),
    sqlite_with_rowid=False,
)
sa.Index("history_time", history.c.time)

shared_keys = sa.Table(
    "shared_keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", _Blob, nullable=False),
    sa.Column("made", _Instant, nullable=False),
)

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("topic", sa.Text, primary_key=True),  # rules, confirmed, pauses, quarantine
    sa.Column("counter", sa.BigInteger, nullable=False),
)
