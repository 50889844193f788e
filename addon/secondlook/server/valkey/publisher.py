"""Loading published generations into a Valkey store; `server.valkey.layout` describes how they lie there."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from secondlook.ground.json_text import read_json
from secondlook.ground.tasks import Tasks
from secondlook.server.publish.generation import Generation
from secondlook.server.publish.table import DETAIL, DETAILS, PREFIX, REST, map_file
from secondlook.server.valkey.layout import (
    FAULTS,
    LOADING_BYTES,
    MARK,
    NAMED_CHARS,
    connect,
    eviction_of,
    faults_of_store,
    key_of,
    pieces_of,
    pipeline_of,
    table_of,
)

BUCKET_ENTRIES: Final = 16
BATCH_BUCKETS: Final = 500
BLOCK_ROWS: Final = 16_384
GRACE_S: Final = 60.0
BEING_LOADED_S: Final = 60  # after which a loading that gave no sign has broken off
RENEWED_EVERY_S: Final = 10.0


class ValkeyPublisher:
    """Loads published generations into a Valkey store."""

    def __init__(self, url: str, *, keep_generations: int = 14) -> None:
        self._client: Any = connect(url)
        self._keep = keep_generations
        self._turn = 0  # of our last loading, counted by the store

    async def push(self, generation: Generation, *, now: float) -> None:
        """Load a generation and make it the served one. Raises ServiceError; nothing is served half."""
        loading = secrets.token_hex(LOADING_BYTES // 2)
        with faults_of_store("write to"):
            async with self._being_loaded(generation.number, loading):
                await self._push(generation, loading, now)

    async def lost(self, number: int | None) -> bool:
        """Return whether the store lost a generation that it was given (None: any); raises ServiceError.

        A store that came back with what it had before lost it too, as from an older snapshot. So did one that
        serves another generation without a manifest, which nobody is loading.
        """
        with faults_of_store("read from"):
            current = await self._client.get(key_of("current"))
            if number is None or current is None:
                return current is None
            if int(current) != number:
                about = await self._about(int(current))
                if not about:  # it is being loaded again, or whoever loaded it was stopped on the way
                    return not await self._client.exists(key_of(int(current), "being-loaded"))
                return bool(about.get("turn", 0) < self._turn)  # else somebody else's is served now
            if not self._turn:  # it was loaded before this process began
                self._turn = (await self._about(number)).get("turn", 0)
            return not await self._client.exists(key_of(number, "manifest"))

    async def missing(self, generation: Generation) -> int:
        """Count the parts of a loaded generation that the store lost since; raises ServiceError."""
        with faults_of_store("read from"):
            about = await self._about(generation.number)
            pieces = sum([1 async for _ in self._lost(generation, about)])
            return len(await self._lost_buckets(generation, about)) + pieces

    async def repair(self, generation: Generation) -> int:
        """Put back what the store lost of a loaded generation, and count it; raises ServiceError."""
        with faults_of_store("write to"):
            about = await self._about(generation.number)
            gone = await self._lost_buckets(generation, about)
            if gone:
                table = table_of(generation.number, about)
                await self._push_buckets(generation, table, about["bits"], gone.__contains__)
            pieces = [each async for each in self._lost(generation, about)]
            for name, data in pieces:
                await self._client.set(name, data)
            return len(gone) + len(pieces)

    async def eviction(self) -> str | None:
        """Return why the store may throw entries away, None when it does not; raises ServiceError."""
        with faults_of_store("read from"):
            return await eviction_of(self._client)

    async def other_publisher(self, own: Generation) -> str | None:
        """Return that what is served was loaded by another publisher than ours; raises ServiceError."""
        with faults_of_store("read from"):
            current = await self._client.get(key_of("current"))
            about = {} if current is None else await self._about(int(current))
        key, our_key = about.get("manifest", {}).get("key"), own.manifest.get("key")
        if key in {None, our_key}:
            return None
        return (
            f"what is served was loaded by another publisher (key {key}) than ours (key {our_key}): "
            "two servers publish into it, and the last one takes the place of the other"
        )

    @asynccontextmanager
    async def _being_loaded(self, number: int, loading: str) -> AsyncIterator[None]:
        """Let other publishers see that a generation is being loaded: it has no manifest until it is whole.

        The number's key is left to expire: whoever missed the manifest just before it was written still finds
        the key.
        """
        own = key_of(number, loading[:NAMED_CHARS], "being-loaded")

        async def renew() -> None:
            # a full store gets room only as the loading goes on, which meets every other fault itself
            with suppress(*FAULTS):
                for name in (key_of(number, "being-loaded"), own):
                    await self._client.set(name, b"", ex=BEING_LOADED_S)

        async def keep_renewing() -> None:
            while True:
                await asyncio.sleep(RENEWED_EVERY_S)
                await renew()

        tasks = Tasks()
        await renew()
        tasks.start("sign of a loading into Valkey", keep_renewing())
        try:
            yield
        finally:
            await tasks.aclose()
            with suppress(*FAULTS):
                await self._client.delete(own)

    async def _push(self, generation: Generation, loading: str, now: float) -> None:
        number = generation.number
        bits = max(0, int(generation.entries // BUCKET_ENTRIES).bit_length())
        about = {"bits": bits, "marked": True, "apart": True, "pushed_at": now, "loading": loading}
        table = table_of(number, about)
        await self._forget_unfinished(number)
        await self._forget_other_tables(number)
        await self._client.sadd(key_of("generations"), number)
        await self._push_buckets(generation, table, bits)
        for key, data in _pieces(generation, table):
            # a list that another generation has alike is there already
            if not (key.startswith(key_of("l")) and await self._client.exists(key)):
                await self._client.set(key, data)
        # others may have been served while the table was written: turns have the order of serving
        turn = int(await self._client.incr(key_of("turn")))
        # the loading is last, where readers look for it
        about = {"manifest": generation.manifest, "turn": turn} | about
        before = await self._client.get(key_of("current"))
        await self._client.sadd(key_of("generations"), number)  # another took it for one that broke off
        await self._client.set(key_of(number, "manifest"), json.dumps(about))
        await self._client.set(key_of("current"), number)
        for past in ("kept", "replaced"):
            await self._client.delete(key_of(number, past))
        self._turn = turn
        if before is not None and int(before) != number:
            await self._client.set(key_of(int(before), "replaced"), now)
        await self._forget_other_tables(number)
        await self._sweep(number, now)

    async def _push_buckets(
        self,
        generation: Generation,
        table: tuple[object, ...],
        bits: int,
        wanted: Callable[[int], bool] | None = None,
    ) -> None:
        """Write the buckets of a table, the empty ones too; `wanted` chooses (default: all)."""
        pipe, waiting, following = pipeline_of(self._client), 0, 0
        marked = {MARK: b""}

        async def write(bucket: int, fields: dict[bytes, bytes]) -> None:
            nonlocal waiting
            if wanted is None or wanted(bucket):
                pipe.hset(key_of(*table, "t", bucket), mapping=fields | marked)
                waiting += 1
            if waiting >= BATCH_BUCKETS:
                await pipe.execute()
                waiting = 0

        for bucket, fields in _Columns(generation.folder).buckets(bits):
            for empty in range(following, bucket):
                await write(empty, {})
            await write(bucket, fields)
            following = bucket + 1
        for empty in range(following, 1 << bits):
            await write(empty, {})
        if waiting:
            await pipe.execute()

    async def _about(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = read_json(await self._client.get(key_of(number, "manifest")) or b"{}")
        return found

    async def _lost_buckets(self, generation: Generation, about: dict[str, Any]) -> frozenset[int]:
        """Return the buckets that are not there, of a generation whose every bucket was written.

        None of one that only has the same number, as of a publisher with another folder.
        """
        if not about.get("marked") or about["manifest"] != generation.manifest:
            return frozenset()
        there = bytearray(1 << about["bits"])
        pattern = key_of(*table_of(generation.number, about), "t", "*")
        async for name in self._client.scan_iter(match=pattern, count=10_000):
            there[int(name.rpartition(b":")[2])] = 1
        return frozenset(bucket for bucket, is_there in enumerate(there) if not is_there)

    async def _lost(self, generation: Generation, about: dict[str, Any]) -> AsyncIterator[tuple[str, bytes]]:
        if about.get("manifest") == generation.manifest:
            for key, data in _pieces(generation, table_of(generation.number, about)):
                if not await self._client.exists(key):
                    yield key, data

    async def _sweep(self, current: int, now: float) -> None:
        """Delete tables replaced long enough ago, and what no kept generation has."""
        numbers = sorted(int(number) for number in await self._client.smembers(key_of("generations")))
        wanted: set[str] = set()
        unwanted: set[str] = set()
        for at, number in enumerate(reversed(numbers)):
            manifest = await self._client.get(key_of(number, "manifest"))
            raw = manifest or await self._client.get(key_of(number, "kept"))
            lists = (
                {each["checksum"] for each in read_json(raw)["manifest"]["lists"].values()} if raw else set()
            )
            if number != current and manifest and await self._was_replaced_long_ago(number, now):
                await self._client.set(key_of(number, "kept"), manifest)
                # the table goes beginning with what every search looks at
                await self._client.delete(key_of(number, "manifest"))
                await self._forget_other_tables(number)
                manifest = None
            if at < self._keep or manifest or number == current:
                wanted |= lists
            else:
                unwanted |= lists
                await self._client.delete(key_of(number, "manifest"))
                await self._client.delete(key_of(number, "kept"))
                await self._client.delete(key_of(number, "replaced"))
                await self._forget_tables(number)  # what is left of it
        for checksum in unwanted - wanted:
            await self._delete_pieces(("l", checksum))
            await self._client.delete(key_of("l", checksum, "size"))

    async def _was_replaced_long_ago(self, number: int, now: float) -> bool:
        replaced = await self._client.get(key_of(number, "replaced"))
        # whoever replaced it was stopped before it wrote that down, or had a clock that was set back since
        if replaced is None or float(replaced) > now + GRACE_S:
            await self._client.set(key_of(number, "replaced"), now)
            return False
        return float(replaced) + GRACE_S <= now

    async def _forget_unfinished(self, number: int) -> None:
        """Delete what was loaded of other generations and never served: its room is needed.

        The served one has no manifest while another publisher loads it again.
        """
        served = await self._client.get(key_of("current"))
        spared = {number} if served is None else {number, int(served)}
        for each in await self._client.smembers(key_of("generations")):
            other = int(each)
            if other not in spared and not (
                await self._client.exists(key_of(other, "manifest"))
                or await self._client.exists(key_of(other, "kept"))
            ):
                await self._forget_tables(other)

    async def _forget_tables(self, number: int) -> None:
        """Delete what was loaded of a generation, and its number too where nobody is loading it.

        Else it stays, for whoever loads next to find what a loading leaves that breaks off: one that has just
        begun has no table yet.
        """
        if await self._forget_other_tables(number):
            return
        await self._client.srem(key_of("generations"), number)
        if await self._client.exists(key_of(number, "being-loaded")):  # looked at last: it is signed first
            await self._client.sadd(key_of("generations"), number)

    async def _forget_other_tables(self, number: int) -> bool:
        """Delete what was loaded of a generation and is neither named by its manifest nor being loaded.

        Return whether anything was spared.
        """
        spared: dict[str, bool] = {}  # by how the names begin
        batch = []
        async for key in self._client.scan_iter(match=key_of(number, "*[td]", "*"), count=10_000):
            beginning, _, kind = key.decode().rpartition(":")[0].rpartition(":")
            if kind not in {"t", "d"}:
                continue
            if beginning not in spared:
                spared[beginning] = await self._is_in_use(number, beginning)
            if spared[beginning]:
                continue
            batch.append(key)
            if len(batch) >= BATCH_BUCKETS:
                await self._unlink(batch)
                batch = []
        await self._unlink(batch)
        return any(spared.values())

    async def _is_in_use(self, number: int, beginning: str) -> bool:
        """Return whether a table is being loaded, or is the one that a generation's manifest names.

        A loading is named by the manifest before its sign goes: looked at the other way about, one that ends
        meanwhile would have neither.
        """
        if await self._client.exists(f"{beginning}:being-loaded"):
            return True
        about = await self._about(number)
        return bool(about) and beginning == key_of(*table_of(number, about))

    async def _unlink(self, names: Sequence[bytes]) -> None:
        if not names:
            return
        pipe = pipeline_of(self._client)
        for name in names:
            pipe.unlink(name)
        await pipe.execute()

    async def _delete_pieces(self, parts: tuple[object, ...]) -> None:
        at = 0
        while await self._client.delete(key_of(*parts, at)):
            at += 1

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _pieces(generation: Generation, table: tuple[object, ...]) -> Iterator[tuple[str, bytes]]:
    """Return what is stored of a generation beside its table and manifest: key and value."""
    for at, piece in enumerate(pieces_of(map_file(generation.folder / DETAILS))):
        yield key_of(*table, "d", at), piece
    for name, entry in generation.lists.items():
        raw, checksum = generation.raw(name), entry.checksum.hex()
        for at, piece in enumerate(pieces_of(raw)):
            yield key_of("l", checksum, at), piece
        yield key_of("l", checksum, "size"), b"%d" % len(raw)


class _Columns:
    """The mapped columns of a generation's table, read block by block: its size does not matter."""

    def __init__(self, folder: Path) -> None:
        self._prefixes = np.frombuffer(map_file(folder / PREFIX), dtype="<u4")
        self._details = np.frombuffer(map_file(folder / DETAIL), dtype="<u4")
        self._rest = map_file(folder / REST)

    def buckets(self, bits: int) -> Iterator[tuple[int, dict[bytes, bytes]]]:
        """Return buckets with their fields, each whole: one that had a mark and not all fields would lie."""
        low, rows, shift = 0, len(self._prefixes), 32 - bits
        while low < rows:
            high = min(low + BLOCK_ROWS, rows)
            while (
                high < rows and int(self._prefixes[high]) >> shift == int(self._prefixes[high - 1]) >> shift
            ):
                high += 1
            prefixes = self._prefixes[low:high].tolist()
            details = self._details[low:high].tolist()
            for bucket, inside in groupby(range(high - low), key=lambda at, p=prefixes, s=shift: p[at] >> s):  # type: ignore[misc]
                fields: dict[bytes, bytes] = {}
                for at in inside:
                    field = prefixes[at].to_bytes(4, "big")
                    rest = bytes(self._rest[(low + at) * 28 : (low + at) * 28 + 28])
                    fields[field] = fields.get(field, b"") + rest + details[at].to_bytes(4, "little")
                yield bucket, fields
            low = high
