"""The stores that a server may answer from: files, Valkey, a cluster, a replica."""

import asyncio
from contextlib import asynccontextmanager

from secondlook.config.service import UpstreamSettings
from secondlook.server.http.app import AppSettings
from secondlook.server.publish.generation import Generation
from secondlook.server.reader import FileReader, Reader
from secondlook.server.replica.replica import Replica
from secondlook.server.store.store import ServerStore
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.server.valkey.reader import ValkeyReader
from secondlook.wire import safebrowsing_pb2 as pb
from serverkit import NOW, full_hash, listening
from serverkit.valkey import cluster, single

HOSTS = [f"evil{number}.example" for number in range(1500)]


class Files:
    """The embedded default."""

    @asynccontextmanager
    async def open(self, store, _):
        yield FileReader(store), lambda: asyncio.sleep(0)


class Valkey:
    """A Valkey store, loaded by a publisher after each publication."""

    def __init__(self, start):
        self.start = start

    @asynccontextmanager
    async def open(self, store, folder):
        with self.start(folder / "valkey") as (url, _):
            publisher, reader = ValkeyPublisher(url), ValkeyReader(url)

            async def carry():
                number = store.current()
                await publisher.push(Generation(store.generation_folder(number)), now=NOW + number)

            await carry()
            try:
                yield reader, carry
            finally:
                await publisher.aclose()
                await reader.aclose()


class Replicated:
    """A replica that pulls from a listening server."""

    @asynccontextmanager
    async def open(self, store, folder):
        async with listening(store, AppSettings(store=store)) as (serving, _):
            copy = ServerStore(folder / "copy")
            replica = Replica(copy, UpstreamSettings(url=f"http://127.0.0.1:{serving.port}"))
            await replica.pull()
            try:
                yield FileReader(copy), replica.pull
            finally:
                await replica.aclose()


STORES = {"files": Files(), "valkey": Valkey(single), "cluster": Valkey(cluster), "replica": Replicated()}


def found(packed: bytes) -> dict[bytes, list[str]]:
    """Return the full hashes of a packed answer with their lists."""
    answer = pb.SearchHashesResponse.FromString(packed)
    return {each.full_hash: [detail.list for detail in each.full_hash_details] for each in answer.full_hashes}


async def search(reader: Reader, *expressions: str) -> list[list[str] | None]:
    """Return the lists of each expression, None where it is on none."""
    packed, count = await reader.search([full_hash(expression)[:4] for expression in expressions])
    listed = found(packed)
    assert len(listed) == count
    return [listed.get(full_hash(expression)) for expression in expressions]
