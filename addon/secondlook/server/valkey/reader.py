"""Reading generations from a Valkey store; `server.valkey.layout` describes how they lie there."""

import asyncio
import struct
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from secondlook.ground.errors import PatternError, ServiceError
from secondlook.ground.files import replacing
from secondlook.ground.json_text import read_json
from secondlook.server.publish.detail import pack_full_hash
from secondlook.server.publish.generation import Generation, PublishedList
from secondlook.server.reader import UpdateCache
from secondlook.server.updates import Kept, Update, Updater, keep
from secondlook.server.valkey.layout import (
    FAULTS,
    LOADING_BYTES,
    MARK,
    PIECE_BYTES,
    connect,
    fault_of_store,
    faults_of_store,
    key_of,
    learn_topology,
    pipeline_of,
    table_of,
)
from secondlook.wire.version import ListVersion

_REST = struct.Struct("<28sI")
_LOADING = -LOADING_BYTES - len('"}'), -1  # in a manifest


class ValkeyReader:
    """Reads what a publisher loaded into Valkey; keeps the contract of `server.reader.Reader`."""

    def __init__(self, url: str) -> None:
        # somebody waits for each answer: the agent asks another server, or again, better than we can here
        self._client: Any = connect(url, patient=False)
        self._node_missed = False
        self._temporary = tempfile.TemporaryDirectory(prefix="secondlook-lists-")
        self._folder = Path(self._temporary.name)
        self._wanted: frozenset[str] = frozenset()  # checksums of the lists of the kept generations
        self.number: int | None = None
        self._loading = b""  # how its manifest ends
        self._table: tuple[object, ...] = ()  # how the names of its table begin
        self._bits = 0
        self._marked = False  # whether a bucket without its mark is known to be one that the store lost
        self._lost_bucket: int | None = None
        self._is_away = False
        self.created_at = 0.0
        self.key: str | None = None  # the publisher's public one (hex), as the generation names it
        self._details: Sequence[bytes] = ()
        self.lists: Mapping[str, PublishedList] = {}
        self._updaters: dict[str, Updater] = {}
        self._kept: Kept = {}
        self._cache = UpdateCache()
        self._fetching = asyncio.Lock()

    @property
    def trouble(self) -> str | None:
        """What is known to be missing of what is served."""
        if self._is_away:
            return "the Valkey store cannot be read"
        return None if self._lost_bucket is None else "the Valkey store lost entries of this generation"

    @property
    def readable(self) -> bool:
        """Return whether the store gave an answer when it was looked at last."""
        return not self._is_away

    async def search(self, prefixes: Sequence[bytes]) -> tuple[bytes, int]:
        """Look every prefix up, in one round trip to each node concerned."""
        number, table, bits = self.number, self._table, self._bits
        details, loading = self._details, self._loading
        if number is None:
            raise PatternError("there is no generation to search")
        pipe = pipeline_of(self._client)
        pipe.getrange(key_of(number, "manifest"), *_LOADING)
        buckets = [int.from_bytes(prefix) >> (32 - bits) for prefix in prefixes]
        for bucket, prefix in zip(buckets, prefixes, strict=True):
            pipe.hmget(key_of(*table, "t", bucket), prefix, MARK)
        try:
            found_loading, *values = await pipe.execute()
        except FAULTS as error:
            self._node_missed = True
            raise fault_of_store("read from", error) from error
        if not found_loading:
            raise ServiceError(f"generation {number} is gone from the Valkey store")
        if found_loading != loading:
            raise ServiceError(f"generation {number} in the Valkey store is another one by now")
        for bucket, (_, mark) in zip(buckets, values, strict=True):
            if mark is None and self._marked:
                self._lost_bucket = bucket
                raise ServiceError(f"the Valkey store lost entries of generation {number}")
        found = [
            pack_full_hash(prefix + rest, details[which])
            for prefix, (value, _) in zip(prefixes, values, strict=True)
            if value
            for rest, which in _REST.iter_unpack(value)
        ]
        return b"".join(found), len(found)

    async def update(self, name: str, version: bytes, max_update: int, max_database: int) -> Update:
        """Return the update of one list; list entries are kept in a local folder once they were needed."""
        # together, whatever is taken up meanwhile
        current, updater, kept = self.lists[name], self._updaters[name], self._kept.get(name, {})
        known = updater.known(version)
        held = ListVersion.decode(known)
        with faults_of_store("read from"):
            await self._need(current)
            for since in {held.generation, held.base} if held is not None else ():
                if since in kept:
                    await self._need(kept[since][1])
        key = (current.version, known, max_update, max_database)
        return await self._cache.get(updater, key, known, (max_update, max_database))

    async def _need(self, entry: PublishedList) -> None:
        """Bring a list's entries into the local folder."""
        path = self._folder / entry.checksum.hex()
        if path.exists():
            return
        async with self._fetching:
            if path.exists():
                return
            size = int(await self._client.get(key_of("l", entry.checksum.hex(), "size")) or -1)
            with replacing(path, synced=False) as file:
                for at in range(-(-size // PIECE_BYTES)):
                    piece = await self._client.get(key_of("l", entry.checksum.hex(), at))
                    if piece is None:
                        break
                    file.write(piece)
                if file.tell() != size:
                    raise PatternError(f"the Valkey store does not have all of {entry.name}")

    async def refresh(self) -> bool:
        """Take up the generation that `current` names, whole."""
        try:
            if self._node_missed:
                await learn_topology(self._client)
                self._node_missed = False
            raw = await self._client.get(key_of("current"))
            if raw is None and self.number is not None:
                self.number, self.lists = None, {}
                raise ServiceError("the Valkey store lost what was loaded into it")
            if raw is None or (int(raw) == self.number and not await self._is_loaded_anew()):
                await self._look_for_lost_bucket()
                self._is_away = False
                return False
            await self._open(int(raw))
            self._is_away = False
        except (*FAULTS, ValueError, struct.error) as error:
            self._is_away = True
            raise fault_of_store("read from", error) from error
        return True

    async def _is_loaded_anew(self) -> bool:
        """Return whether other data have the number that is served, as of a folder that was set up anew."""
        found = await self._client.getrange(key_of(self.number, "manifest"), *_LOADING)
        return found not in {b"", self._loading}

    async def _look_for_lost_bucket(self) -> None:
        bucket = self._lost_bucket
        if bucket is not None and await self._client.hexists(key_of(*self._table, "t", bucket), MARK):
            self._lost_bucket = None

    async def _open(self, number: int) -> None:
        raw = await self._client.get(key_of(number, "manifest"))
        if raw is None:
            raise PatternError(f"generation {number} is not in the Valkey store")
        about = read_json(raw)
        table = table_of(number, about)
        pieces: list[bytes] = []
        while (piece := await self._client.get(key_of(*table, "d", len(pieces)))) is not None:
            pieces.append(piece)
        details = _split_details(b"".join(pieces))
        generations: list[Generation] = [_Stored(self._folder, about["manifest"])]
        for other in await self._client.smembers(key_of("generations")):
            if int(other) != number:
                kept = await self._client.get(key_of(int(other), "kept"))
                kept = kept or await self._client.get(key_of(int(other), "manifest"))
                if kept:
                    generations.insert(0, _Stored(self._folder, read_json(kept)["manifest"]))
        current = generations[-1]
        self._kept = keep(generations)
        self._updaters = {name: Updater(self._kept, entry) for name, entry in current.lists.items()}
        self._table, self._bits, self._details = table, about["bits"], details
        self.lists = current.lists
        self.created_at = current.created_at
        self.key = current.manifest.get("key")
        self._marked, self._lost_bucket = about.get("marked", False), None
        self.number, self._loading = number, raw[_LOADING[0] :]
        self._drop_lists(generations)

    def _drop_lists(self, generations: Sequence[Generation]) -> None:
        """Remove the copies of lists of earlier generations, but for those of the last, still in use."""
        before = self._wanted
        self._wanted = frozenset(
            entry.checksum.hex() for each in generations for entry in each.lists.values()
        )
        for path in self._folder.glob("[0-9a-f]*"):
            if path.name not in self._wanted | before:
                path.unlink(missing_ok=True)

    async def aclose(self) -> None:
        """Close the connections and remove the local copies."""
        await self._client.aclose()
        self._temporary.cleanup()


class _Stored(Generation):
    """A generation whose lists lie in a local folder under their checksums."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.number = manifest["number"]
        self.created_at = manifest["created_at"]
        self.entries = manifest["entries"]
        self.lists = {name: PublishedList.from_json(name, raw) for name, raw in manifest["lists"].items()}

    def raw(self, name: str) -> memoryview:
        """Read the sorted entries of a list."""
        return memoryview((self.folder / self.lists[name].checksum.hex()).read_bytes())


def _split_details(data: bytes) -> list[bytes]:
    (count,) = struct.unpack_from("<Q", data)
    offsets = struct.unpack_from(f"<{count + 1}Q", data, 8)
    blobs = data[16 + 8 * count :]
    if offsets[-1] != len(blobs):
        raise PatternError("the Valkey store does not have all details")
    return [blobs[low:high] for low, high in pairwise(offsets)]
