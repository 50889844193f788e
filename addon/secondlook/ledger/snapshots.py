"""Snapshots of what every process keeps in memory: rules, pauses, the confirmed set.

Only a topic whose change number has moved (`ledger.engine.change`) is read again, and of the confirmed set
only what changed since. While PostgreSQL is away, what was read stays; a process that has read nothing yet
begins with what was last known here (`ledger.last_known`).
"""

import threading
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from secondlook.core.event import ConfirmedEntry
from secondlook.core.rules.rule import Pause, Rule
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.change import Mark
from secondlook.ledger.engine.store import Store
from secondlook.ledger.operator import rule_table
from secondlook.ledger.queue import confirmed

if TYPE_CHECKING:
    from secondlook.ledger.last_known import LastKnown

_RELOAD_S: Final = 3_600.0  # the confirmed set is read whole after this long without a look


class Snapshots:
    """The present snapshots (port `Snapshots` of `agent`); every method may be called from any thread.

    `known` is where this ledger's last snapshots are, if anywhere; the keeper keeps them there. Methods raise
    LedgerError.
    """

    def __init__(self, store: Store, known: "LastKnown | None" = None) -> None:
        self._store = store
        self._known = known
        self._keep = known if store.options.keeper else None
        self._from_known = False  # whether these are the last known ones, as nothing was read yet
        self._lock = threading.Lock()
        self._seen: dict[str, Mark] = {}
        self._confirmed_at = 0.0  # elapsed, and so counted while the machine sleeps: others go on
        self._rules: tuple[Rule, ...] = ()
        self._pauses: tuple[Pause, ...] = ()
        self._confirmed: dict[bytes, ConfirmedEntry] = {}
        self._confirmed_tuple: tuple[ConfirmedEntry, ...] | None = None

    def version(self) -> int:
        """Return a number that differs whenever rules, pauses or the confirmed set changed; cheap."""
        with self._lock:
            try:
                number = self._store.changes.version()
            except LedgerError:
                self._begin_with_known()
                return -1
            self._from_known = False
            self._keep_owed()
            return number

    def rules(self) -> Sequence[Rule]:
        """Return all rules, expired ones included."""
        with self._lock:
            if (mark := self._moved("rules")) is not None:
                self._rules = self._store.read(rule_table.read_rules)
                self._seen["rules"] = mark
                self._keep_topic("rules")
            return self._rules

    def pauses(self) -> Sequence[Pause]:
        """Return the pauses in force or past."""
        with self._lock:
            if (mark := self._moved("pauses")) is not None:
                self._pauses = self._store.read(rule_table.read_pauses)
                self._seen["pauses"] = mark
                self._keep_topic("pauses")
            return self._pauses

    def confirmed(self) -> Sequence[ConfirmedEntry]:
        """Return the whole confirmed set; only what changed is read."""
        with self._lock:
            if (mark := self._moved("confirmed")) is not None:
                # The mark was read before the rows: a change in between is read twice, never missed.
                changed = self._read_confirmed(mark)
                self._seen["confirmed"] = mark
                self._confirmed_tuple = None
                self._keep_topic("confirmed", changed)
            if self._confirmed_tuple is None:
                self._confirmed_tuple = tuple(self._confirmed.values())
            return self._confirmed_tuple

    def _read_confirmed(self, mark: Mark) -> set[bytes] | None:
        """Read what changed and return whose; None where all was read."""
        now, seen = self._store.clock.elapsed(), self._seen.get("confirmed")
        changed: set[bytes] | None = None
        old = now - self._confirmed_at > _RELOAD_S
        if seen is None or old or seen.file != mark.file or mark.number < seen.number:
            self._confirmed = {entry.identity: entry for entry in self._store.read(confirmed.everything)}
        else:
            renewed, withdrawn = self._store.read(partial(confirmed.changed_since, number=seen.number))
            for identity in withdrawn:
                self._confirmed.pop(identity, None)
            self._confirmed.update((entry.identity, entry) for entry in renewed)
            changed = {*withdrawn, *(entry.identity for entry in renewed)}
        self._confirmed_at = now
        return changed

    def _moved(self, topic: str) -> Mark | None:
        """Return how far a topic has come, where that is not as it was read."""
        try:
            mark = self._store.changes.mark(topic)
        except LedgerError:
            self._begin_with_known()
            return None
        self._from_known = False
        return None if self._seen.get(topic) == mark else mark

    def _begin_with_known(self) -> None:
        """Go on with what was last known, where nothing was read yet; else raise what is being handled."""
        if self._from_known:
            return
        known = self._known.read() if self._known is not None and not self._seen else None
        if known is None:
            raise  # noqa: PLE0704  (called inside except clauses)
        self._rules, self._pauses = known.rules, known.pauses
        self._confirmed = {entry.identity: entry for entry in known.confirmed}
        self._confirmed_tuple = None
        self._from_known = True

    def _keep_owed(self) -> None:
        """Write what could not be kept when it was read."""
        if self._keep is not None:
            for topic in self._keep.owed():
                if topic in self._seen:
                    self._keep_topic(topic)

    def _keep_topic(self, topic: str, changed: Iterable[bytes] | None = None) -> None:
        if self._keep is None:
            return
        match topic:
            case "rules":
                self._keep.keep_rules(self._rules)
            case "pauses":
                self._keep.keep_pauses(self._pauses)
            case _:
                self._keep.keep_confirmed(self._confirmed, changed)
