"""What is known of a feed between fetches, in a file each: when it came, when it is due, how much it had."""

from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Final

from secondlook.config.service import PublishSettings
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.program_name import typed
from secondlook.server.store.store import dump_json

LATELY_S: Final = 7 * 86_400.0  # what a feed had within this is what it must not shrink from
SHRUNK: Final = "shrunk: "  # how the refusal of a feed begins that did


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """What is known of a feed between fetches; instants in Unix seconds.

    `asked` is a digest of what its settings made of it (None: a version that did not note it). `most` is
    how many entries it once brought, at `most_at`; `may_shrink`: somebody said that what is left is right.
    """

    etag: str | None = None
    last_modified: str | None = None
    checked_at: float = 0.0
    good_at: float = 0.0
    due_at: float = 0.0
    failures: int = 0
    error: str | None = None
    entries: int = 0
    asked: str | None = None
    most: int = 0
    most_at: float = 0.0
    may_shrink: bool = False

    def most_lately(self, now: float) -> int:
        """Return the most entries that it brought within `LATELY_S`; 0 where it brought none."""
        return self.most if now - self.most_at <= LATELY_S else 0

    def brought(self, entries: int, now: float) -> "FeedState":
        """Return what is known once it brought so many entries and they were taken."""
        state = replace(self, entries=entries, may_shrink=False)
        return state if entries < self.most_lately(now) else replace(state, most=entries, most_at=now)


def read_state(folder: Path, name: str) -> FeedState:
    """Read what is known of a feed; nothing, when it was never fetched or the file is damaged."""
    try:
        state = FeedState(**read_json((folder / f"{name}.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return FeedState()
    return (
        state
        if all(_fits(getattr(state, each.name), each.default) for each in fields(state))
        else FeedState()
    )


def _fits(value: object, default: object) -> bool:
    """Return whether a value that was read is of the kind of its field."""
    match default:
        case bool():
            return isinstance(value, bool)
        case int() | float():
            return isinstance(value, int | float) and isfinite(value)
        case _:
            return value is None or isinstance(value, str)


def write_state(folder: Path, name: str, state: FeedState) -> None:
    """Keep what is known of a feed."""
    folder.mkdir(exist_ok=True)
    write_whole(folder / f"{name}.json", dump_json(asdict(state)))


def too_few(has: int, had: int, most: int, settings: PublishSettings) -> str | None:
    """Return what a feed that brought `has` entries had before, where it shrank too far; None where not.

    `had` are those in force, `most` what it brought lately: so it does not shrink away in small steps. Where
    those in force are as few beside `most`, somebody meant that.
    """
    if had < settings.shrink_from or has >= max(had, most) * settings.shrink:
        return None
    if has < had * settings.shrink:
        return f"the last good one had {had}"
    return (
        None
        if had < most * settings.shrink
        else f"within the last {LATELY_S / 86_400:.0f} days it had {most}"
    )


def shrunk(has: str, why: str) -> str:
    """Return how a feed is refused that has so much left, why that is too little, and what takes it."""
    return f"{SHRUNK}{has}, {why}; `{typed('server publish --accept-shrink')}` takes it if that is right"


def accept_shrunk(folder: Path) -> list[str]:
    """Have the feeds that were refused because they shrank taken with their next fetch; returns their names.

    Raises OSError.
    """
    accepted = []
    for path in sorted(folder.glob("*.json")):
        state = read_state(folder, path.stem)
        if (state.error or "").startswith(SHRUNK):
            write_state(folder, path.stem, replace(state, may_shrink=True, due_at=0.0))
            accepted.append(path.stem)
    return accepted
