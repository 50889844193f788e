"""The server's folder: sources of entries, numbered generations, and which of them is current.

```
root/
  lock                      one writer at a time (import, publish, remove)
  sources/0007-urlhaus/     one import or feed, never changed: source.json, records, texts
  guard/                    hosts that feeds give as known to be good, a file for each
  own-hosts.txt             the operator's own hosts, by the settings
  feeds-off.json            feeds that are off: what they brought is kept, and out of force
  feeds-turned.json         feeds that brought a list and are of another kind now
  own.json                  the operator's own entries and exceptions, with who and when
  generations/000012/       a published generation, never changed: manifest.json, table, lists
  current                   the number of the generation that is served
```

Everything is written beside and renamed into place, so a reader never sees half of anything and a
writer may be killed at any byte.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import digits
from typing import Any, Literal, Self

from secondlook.ground.errors import ConfigError, PatternError
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.lock import take_lock

logger = logging.getLogger(__name__)

WRITER_WAIT_S = 300.0  # several times what the largest import and publication take
WRITER_NAMED_S = 1.0  # from then on the one that is waited for is named
_LOOK_AGAIN_S = 0.02
_MAX_DIGITS = 18  # of the number of a generation

FEEDS_FOLDER = "feeds"  # what is known of each feed: when it came, when it is due
GUARD_FOLDER = "guard"  # hosts that feeds give as known to be good, a file for each
OWN_HOSTS = "own-hosts.txt"
OWED = "owed"  # there while what feeds brought is still to be published
HELD = "held"  # there while the operator's rollback keeps feeds from publishing
ROLLED_BACK = "rolled-back"  # numbers of generations that the operator went back from, one a line
type SourceKind = Literal["import", "feed", "builtin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where entries came from: one import or one fetch of a feed.

    `list` is the list that its entries of `list`'s kind go to; those of the other kind go to the
    sibling list. `counts` are entries by list, `dropped` the lists that a later import replaced.
    `brought` is how many entries the import or fetch brought itself: a feed with `expires` also holds what
    earlier fetches did (None: a store of an older version). `expires_at` (Unix seconds) ends all of it;
    `insist` lifts the known-good guard.
    """

    id: str
    name: str
    kind: SourceKind
    list: str
    format: str
    who: str
    added_at: float
    sha256: str
    counts: Mapping[str, int]
    rejected: Mapping[str, int] = field(default_factory=dict)
    families: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    expires_at: float | None = None
    insist: bool = False
    licence: str | None = None
    url: str | None = None
    brought: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the plain values that `from_json` reads."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "counts": dict(self.counts),
            "rejected": dict(self.rejected),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(**{**raw, "families": tuple(raw["families"]), "dropped": tuple(raw["dropped"])})


def dump_json(value: object) -> bytes:
    """Return stable, readable JSON."""
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n"


@contextmanager
def _held(lock: int) -> Iterator[None]:
    try:
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(lock)


def _number_of(folder: Path) -> int:
    """Return the number of a source; only up to 9999 are names in the order of numbers."""
    return int(folder.name[: len(folder.name) - len(folder.name.lstrip(digits))])


def damaged_source(folder: Path, why: str) -> PatternError:
    """Return the error that a source's folder cannot be used, and the way forward."""
    return PatternError(
        f"the source {folder.name} is damaged ({why}); remove {folder}: a feed brings its entries again, a "
        "file is imported again"
    )


class ServerStore:
    """A server's folder on disk; `root` is made when it is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources_folder = root / "sources"
        self.generations_folder = root / "generations"
        try:
            self.sources_folder.mkdir(parents=True, exist_ok=True)
            self.generations_folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot use {root} as the server's folder: {error.strerror}") from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the writer's lock; waits for another writer (import, feed, publish) to end.

        Raises PatternError when that takes longer than `WRITER_WAIT_S`. Not for the event loop.
        """
        tries = self._tries()
        while (lock := next(tries)) is None:
            time.sleep(_LOOK_AGAIN_S)
        with _held(lock):
            yield

    @asynccontextmanager
    async def writing_from_loop(self) -> AsyncGenerator[None]:
        """Hold the writer's lock as `writing` does; the event loop goes on, and a wait can be cancelled."""
        import asyncio  # noqa: PLC0415 - slow to import, and commands about a server run no loop

        tries = self._tries()
        while (lock := next(tries)) is None:  # noqa: ASYNC110 - processes share no event
            await asyncio.sleep(_LOOK_AGAIN_S)
        with _held(lock):
            yield

    def _tries(self) -> Iterator[int | None]:
        """Try for the writer's lock again and again: its descriptor, or None while another writer has it."""
        path = self.root / "lock"
        started = time.monotonic()
        named = False
        while True:
            lock = None
            with suppress(BlockingIOError):
                lock = take_lock(path, wait=False)
            if lock is None:
                other = f"process {path.read_bytes()[:20].decode('ascii', 'replace').strip() or 'unknown'}"
                if time.monotonic() - started > WRITER_WAIT_S:
                    raise PatternError(f"{other} has held {path} for {WRITER_WAIT_S:g} s; stop it, or wait")
                if not named and time.monotonic() - started > WRITER_NAMED_S:
                    logger.warning("waiting for %s, which holds %s", other, path)
                    named = True
            yield lock

    # Sources

    def sources(self) -> list[Source]:
        """Return every source, oldest first. Raises PatternError for a damaged one."""
        found = []
        taken_in = self.sources_folder.glob("[0-9]*")  # others are not taken in yet, or gone
        for folder in sorted(taken_in, key=_number_of):
            try:
                found.append(Source.from_json(read_json((folder / "source.json").read_bytes())))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise damaged_source(folder, f"source.json: {error}") from error
        return found

    def sources_in_force(self, now: float) -> list[Source]:
        """Return the sources that go into the next generation: not over, and of no feed that is off."""
        from secondlook.server.store.feeds_off import lists_off  # noqa: PLC0415 - only needed here

        off = lists_off(self.root)
        return [
            source
            for source in self.sources()
            if (source.expires_at is None or source.expires_at > now)
            and not (source.kind == "feed" and source.name in off)
        ]

    def source_folder(self, source_id: str) -> Path:
        """Return the folder of one source."""
        return self.sources_folder / source_id

    def new_source(self, name: str) -> tuple[str, Path]:
        """Make an unfinished folder for a source; `keep_source` puts it in place. Holds the lock already."""
        numbers = [_number_of(folder) for folder in self.sources_folder.glob("[0-9]*")]
        slug = "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in name)[:60]
        source_id = f"{max(numbers, default=0) + 1:04d}-{slug}"
        for left in self.sources_folder.glob(".*"):  # of a writer that was killed: we hold its lock now
            shutil.rmtree(left, ignore_errors=True)
        folder = self.sources_folder / f".{source_id}"
        folder.mkdir()
        return source_id, folder

    def keep_source(self, source: Source, folder: Path) -> None:
        """Take a finished folder in."""
        (folder / "source.json").write_bytes(dump_json(source.to_json()))
        folder.rename(self.source_folder(source.id))

    def change_source(self, source: Source) -> None:
        """Write a source's facts anew (its entries stay)."""
        write_whole(self.source_folder(source.id) / "source.json", dump_json(source.to_json()))

    def forget_source(self, source_id: str) -> None:
        """Remove a source and its entries from the next generation on."""
        folder = self.source_folder(source_id)
        gone = folder.with_name(f".gone-{source_id}")
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone)

    def guard_files(self) -> tuple[Path, ...]:
        """Return the files of hosts that no feed may block; not those of feeds that are off."""
        from secondlook.server.store.feeds_off import read_off  # noqa: PLC0415 - only needed here

        off = read_off(self.root)
        own = self.root / OWN_HOSTS
        of_feeds = (path for path in self.kept_guard_files() if path.stem not in off)
        return (*of_feeds, *((own,) if own.exists() else ()))

    def kept_guard_files(self) -> tuple[Path, ...]:
        """Return the files of hosts that feeds ever gave as known to be good."""
        return tuple(sorted((self.root / GUARD_FOLDER).glob("*.txt")))

    # Generations

    def generations(self) -> list[int]:
        """Return the numbers of the finished generations, ascending."""
        return sorted(
            int(folder.name)
            for folder in self.generations_folder.glob("[0-9]*")
            if folder.name.isdigit() and (folder / "manifest.json").exists()
        )

    def generation_folder(self, number: int) -> Path:
        """Return the folder of one generation."""
        return self.generations_folder / f"{number:06d}"

    def mark_of(self, number: int) -> tuple[int, int] | None:
        """Return what distinguishes a generation from another one in its place; None where there is none."""
        try:
            status = (self.generation_folder(number) / "manifest.json").stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def current(self) -> int | None:
        """Return the number of the generation that is served, None before the first."""
        try:
            text = (self.root / "current").read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        if not text.isdigit() or len(text) > _MAX_DIGITS:
            raise PatternError(f"{self.root / 'current'} does not name a generation: {text[:40]!r}")
        return int(text)

    def set_current(self, number: int) -> None:
        """Switch what is served; atomic."""
        write_whole(self.root / "current", f"{number}\n".encode())

    def rolled_back(self) -> frozenset[int]:
        """Return the generations that the operator went back from: it is not gone back to them."""
        try:
            lines = (self.root / ROLLED_BACK).read_text("ascii", "replace").split()
        except FileNotFoundError:
            return frozenset()
        return frozenset(int(line) for line in lines if line.isdigit() and len(line) <= _MAX_DIGITS)

    def note_rolled_back(self, number: int) -> None:
        """Write down that the operator goes back from a generation; those that are gone are forgotten."""
        kept = sorted((self.rolled_back() & set(self.generations())) | {number})
        write_whole(self.root / ROLLED_BACK, "".join(f"{each}\n" for each in kept).encode())

    def drop_generations(self, keep: int) -> None:
        """Remove the oldest generations, keeping `keep` and the current one."""
        current = self.current()
        for number in self.generations()[:-keep]:
            if number != current:
                shutil.rmtree(self.generation_folder(number), ignore_errors=True)
