"""What the application reads: the current generation, searched and served; switched while requests run.

A reader never writes. `refresh` looks whether another generation is current and switches in one
assignment, so that a request sees either the old one or the new one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

from secondlook.ground.errors import PatternError
from secondlook.ground.lanes import LISTS
from secondlook.server.publish.detail import pack_full_hash
from secondlook.server.publish.generation import Generation, PublishedList
from secondlook.server.store.store import ServerStore
from secondlook.server.updates import Kept, Update, Updater, keep

CACHE_BYTES = 256 << 20


class Reader(Protocol):
    """The reading side of a store; files and Valkey keep one contract (tests/server/test_reader.py)."""

    number: int | None  # the generation that is served, None while there is nothing to serve
    lists: Mapping[str, PublishedList]  # of that generation
    created_at: float  # when that generation was published (Unix seconds), 0 while there is none

    @property
    def trouble(self) -> str | None:
        """What is known to be missing of what is served, None when nothing is."""

    @property
    def readable(self) -> bool:
        """Return whether searches can be answered, as far as is known."""

    async def search(self, prefixes: Sequence[bytes]) -> tuple[bytes, int]:
        """Return the packed `full_hashes` fields under 4-byte prefixes, and how many there are."""

    async def update(self, name: str, version: bytes, max_update: int, max_database: int) -> Update:
        """Return the update of one served list for a client that has this version."""

    async def refresh(self) -> bool:
        """Take up another current generation; True when there was one. PatternError when it is damaged."""

    async def aclose(self) -> None:
        """Let go of connections and files."""


class UpdateCache:
    """Packed updates that several clients ask for, each computed once, least recently used ones forgotten."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[object, ...], Update] = OrderedDict()
        self._size = 0
        self._pending: dict[tuple[object, ...], asyncio.Future[Update]] = {}

    async def get(
        self, updater: Updater, key: tuple[object, ...], version: bytes, limits: tuple[int, int]
    ) -> Update:
        """Return the update under `key`, computed in a thread when nobody asked for it before."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
            return found
        pending = self._pending.get(key)
        if pending is None:
            pending = asyncio.ensure_future(LISTS.run(updater.update, version, *limits))
            self._pending[key] = pending
            pending.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(pending)

    def _keep(self, key: tuple[object, ...], done: asyncio.Future[Update]) -> None:
        self._pending.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            return
        update = done.result()
        self._held[key] = update
        self._size += len(update.packed)
        while self._size > CACHE_BYTES and len(self._held) > 1:
            _, old = self._held.popitem(last=False)
            self._size -= len(old.packed)


class FileReader:
    """Reads generations from a server's folder."""

    def __init__(self, store: ServerStore) -> None:
        self.number: int | None = None
        self.lists: Mapping[str, PublishedList] = {}
        self.created_at = 0.0
        self.trouble = None  # files are there as a whole or not at all
        self.readable = True
        self._store = store
        self._generation: Generation | None = None
        self._mark: tuple[int, int] | None = None
        self._updaters: dict[str, Updater] = {}
        self._cache = UpdateCache()

    async def search(self, prefixes: Sequence[bytes]) -> tuple[bytes, int]:
        """Look every prefix up in the mapped table."""
        generation = self._generation
        if generation is None:
            raise PatternError("there is no generation to search")
        table = generation.table
        found = []
        for prefix in prefixes:
            found += [
                pack_full_hash(table.full_hash(row), table.details(row))
                for row in table.find(int.from_bytes(prefix))
            ]
        return b"".join(found), len(found)

    async def update(self, name: str, version: bytes, max_update: int, max_database: int) -> Update:
        """Return the update of one list from the kept generations."""
        current, updater = self.lists[name], self._updaters[name]
        known = updater.known(version)
        key = (current.version, known, max_update, max_database)
        return await self._cache.get(updater, key, known, (max_update, max_database))

    async def refresh(self) -> bool:
        """Open the current generation if it is another one; the last good one stays if that fails."""
        number = self._store.current()
        if number is None:
            return False
        mark = self._store.mark_of(number)
        if number == self.number and mark in {None, self._mark}:
            return False
        generation, kept = await LISTS.run(self._open, number)
        self._updaters = {name: Updater(kept, entry) for name, entry in generation.lists.items()}
        self._generation, self._mark = generation, mark
        self.number, self.lists, self.created_at = number, generation.lists, generation.created_at
        return True

    def _open(self, number: int) -> tuple[Generation, Kept]:
        generation = Generation(self._store.generation_folder(number))
        _ = generation.table  # mapped and checked before anybody is sent to it
        others = []
        for other in self._store.generations():
            if other == number:
                continue
            try:
                others.append(Generation(self._store.generation_folder(other)))
            except PatternError:
                continue  # an old one that is being removed, or damaged: its clients get a full update
        return generation, keep([*others, generation])

    async def aclose(self) -> None:
        """Let go of the mapped files."""
        self._generation, self.number, self.lists = None, None, {}
        self._updaters = {}
