"""What set-up has changed on this computer, so that `setup off` can take back exactly that.

`STATE/setup.json` holds one record a change, oldest first. It is written before the change is made: a crash
in between leaves a record whose undoing does nothing, never a change that nobody remembers.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from secondlook.ground.errors import SecondLookError
from secondlook.ground.files import write_whole
from secondlook.ground.first_steps import FirstSteps, Step
from secondlook.ground.json_text import read_json
from secondlook.ground.lock import locked_folder

CERTIFICATE = "ca"  # the kind of change by which the authority is trusted


def is_trusted(state: Path) -> bool:
    """Return whether the authority is trusted: set-up saw to it, or a program took a certificate of ours."""
    return Journal(state).has(CERTIFICATE) or Step.TRUST in FirstSteps(state).taken()


class JournalError(SecondLookError):
    """The record of changes is damaged."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was changed: `kind` names who can undo it, `before` and `after` are its own values."""

    kind: str
    target: str
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step, in words; `hint` is what the user can do where we could not."""

    done: bool
    text: str
    hint: str | None = None


def _thing(change: Change) -> tuple[str, str, object]:
    """Return what a change is of: of a store, one authority of it, as the one before may still be there."""
    return change.kind, change.target, change.after if change.kind == CERTIFICATE else None


class Journal:
    """The record of changes in a state folder."""

    def __init__(self, state: Path) -> None:
        self._path = state / "setup.json"

    def changes(self) -> list[Change]:
        """Return all changes, oldest first. Raises JournalError when the file is damaged."""
        try:
            records = read_json(self._path.read_text(encoding="utf-8"))
            return [Change(**record) for record in records]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise JournalError(
                f"{self._path} is damaged, so what was set up here is not known: {error}; "
                "put back a good copy, or remove it and undo by hand"
            ) from error

    def has(self, kind: str) -> bool:
        """Return whether a change of a kind is on record; a damaged record has none."""
        try:
            return any(change.kind == kind for change in self.changes())
        except (JournalError, OSError):
            return False

    def add(self, change: Change) -> bool:
        """Remember a change and return whether it is new; a later one of a thing keeps the first `before`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with locked_folder(self._path.parent):
            kept = self.changes()
            for index, old in enumerate(kept):
                if _thing(old) == _thing(change):
                    kept[index] = Change(change.kind, change.target, old.before, change.after)
                    self._write(kept)
                    return False
            self._write([*kept, change])
            return True

    def forget(self, change: Change) -> None:
        """Take a change off the record: it was undone, or could not be made."""
        with locked_folder(self._path.parent):
            self._write([kept for kept in self.changes() if kept != change])

    def undo(
        self, undoers: Mapping[str, Callable[[Change], Outcome]], kinds: frozenset[str]
    ) -> list[Outcome]:
        """Undo the changes of these kinds, newest first; what could not be undone stays on record.

        Another user's record is not believed: by it only authorities of ours are distrusted.
        """
        outcomes: list[Outcome] = []
        for change in reversed(self.changes()):
            if change.kind not in kinds:
                continue
            if change.kind == CERTIFICATE or self._is_ours():
                outcome = undoers[change.kind](change)
            else:
                hint = f"run this as the user who owns {self._path.parent}"
                outcome = Outcome(done=False, text=f"{change.target}: set up by another user", hint=hint)
            outcomes.append(outcome)
            if outcome.done:
                self.forget(change)
        return outcomes

    def _is_ours(self) -> bool:
        return self._path.parent.stat().st_uid == os.geteuid()

    def _write(self, changes: list[Change]) -> None:
        write_whole(self._path, json.dumps([asdict(change) for change in changes], indent=1).encode())
