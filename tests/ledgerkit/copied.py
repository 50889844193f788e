"""New ledgers in SQLite as copies of one: what Alembic does for each takes fifty milliseconds, and thousands are made."""

import tempfile
import threading
from pathlib import Path

from ledgerkit.made import make_ledger
from secondlook.ledger.engine import migration

_create_file = getattr(migration, "create_file")  # noqa: B009 - for the types, as below


def begin() -> None:
    """Make every new ledger of this process so from now on, whoever opens it."""
    with tempfile.TemporaryDirectory() as folder:
        make_ledger(Path(folder) / "ledger.sqlite3")  # the one to copy, before a test bends anything
    setattr(migration, "create_file", put_copy)  # noqa: B010 - a function, for the types


def end() -> None:
    """Make new ledgers of this process as the program does."""
    setattr(migration, "create_file", _create_file)  # noqa: B010 - a function, for the types


def put_copy(path: Path) -> None:
    """Put a new ledger there, whole at once, as `create_file` puts an empty file there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{threading.get_ident()}")
    make_ledger(beside).replace(path)
