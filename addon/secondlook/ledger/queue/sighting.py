"""A further sighting of a subject that has a row: the row keeps what either of them knew.

Used after an upsert, whose lock on the row keeps other proxies from adding to it at the same time.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import batched
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from secondlook.core.sighting import STRICTEST_FIRST, united
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.json_text import read_json
from secondlook.ledger.engine.codec import join_hashes, split_hashes

_CHUNK: Final = 500
_DIGEST: Final = "sha256"  # of a digest without a label

type Columns = ReadOnlyColumnCollection[str, Any]


def is_stricter(new: Columns, old: Columns) -> sa.ColumnElement[bool]:
    """Return whether more is asked about in the class of the new row than in that of the old one."""
    return _rank(new) < _rank(old)


def _rank(columns: Columns) -> sa.ColumnElement[int]:
    """Return the place of a row's class among those of its kind, as literals that no row has to carry."""
    return sa.case(
        *(
            (
                sa.and_(
                    columns["kind"] == sa.literal_column(f"'{kind}'"),
                    columns["class"] == sa.literal_column(f"'{cls}'"),
                ),
                sa.literal_column(str(rank)),
            )
            for kind, classes in STRICTEST_FIRST.items()
            for rank, cls in enumerate(classes)
        ),
        else_=sa.literal_column(str(len(SubjectClass))),  # without a class
    )


def add_digests(
    connection: sa.Connection,
    table: sa.Table,
    seen: Iterable[tuple[bytes, SubjectKind, Sequence[bytes], Sequence[str]]],
    changes: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Add to the rows of files the digests that they lack, each with its label.

    `seen` holds (identity, kind, hashes, labels); the hashes of a URL follow from the URL. `changes` gives
    what else becomes of a row that grows.
    """
    found: dict[bytes, dict[bytes, str]] = {}
    for identity, kind, hashes, labels in seen:
        if kind is SubjectKind.FILE:
            found.setdefault(identity, {}).update(_labelled(hashes, labels))
    has_labels = "labels" in table.c
    columns = [table.c.identity, table.c.hashes, *([table.c.labels] if has_labels else [])]
    for part in batched(sorted(found), _CHUNK):
        for row in connection.execute(sa.select(*columns).where(table.c.identity.in_(part))).mappings():
            identity, hashes = bytes(row["identity"]), split_hashes(row["hashes"])
            further = found[identity]
            both = united(hashes, tuple(further))
            if len(both) == len(hashes):
                continue
            values = {"hashes": join_hashes(both), **changes()}
            if has_labels:
                names = further | _labelled(hashes, read_json(row["labels"] or "[]"))
                values["labels"] = json.dumps([names[each] for each in both])
            connection.execute(sa.update(table).where(table.c.identity == identity).values(values))


def _labelled(hashes: Sequence[bytes], labels: Sequence[str]) -> dict[bytes, str]:
    return dict.fromkeys(hashes, _DIGEST) | dict(zip(hashes, labels, strict=False))
