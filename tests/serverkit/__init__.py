"""Machinery of the server's tests: stores with entries, servers that really listen."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import httpx

from secondlook.config.service import PublishSettings
from secondlook.ground.tcp import listen_on
from secondlook.server.http.app import AppSettings, ServerApp
from secondlook.server.http.serving import Serving
from secondlook.server.publish.generation import Generation
from secondlook.server.publish.publishing import PublishReport, publish
from secondlook.server.reader import FileReader, Reader
from secondlook.server.store.importing import ImportReport, import_files
from secondlook.server.store.store import ServerStore
from secondlook.wire import safebrowsing_pb2 as pb

NOW = 1_790_000_000.0


def full_hash(expression: str) -> bytes:
    """The full hash of an expression."""
    return sha256(expression.encode()).digest()


def put(
    store: ServerStore,
    lines: Iterable[str],
    *,
    list_name: str = "mw-8b",
    name: str = "list.txt",
    replace: bool = False,
    insist: bool = False,
) -> ImportReport:
    """Import lines as a file of their own."""
    path = store.root.parent / name
    path.write_text("".join(f"{line}\n" for line in lines))
    report = import_files(
        store, [path], who="tester", now=NOW, list_name=list_name, replace_list=replace, insist=insist
    )
    assert not any(file.refused for file in report.files), report.files
    return report


def out(
    store: ServerStore, *, now: float = NOW, accept_shrink: bool = False, keep: int = 14
) -> PublishReport:
    """Publish."""
    return publish(store, now=now, settings=PublishSettings(keep=keep), accept_shrink=accept_shrink)


def make_store(folder: Path, lines: Iterable[str] = (), *, list_name: str = "mw-8b") -> ServerStore:
    """A store with one published list; all of the same list have the same key."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(_published(tuple(lines), list_name), folder / "server", dirs_exist_ok=True)
    return ServerStore(folder / "server")


def current(store: ServerStore) -> Generation:
    """The generation that a store serves."""
    number = store.current()
    assert number is not None
    return Generation(store.generation_folder(number))


def details(store: ServerStore, expression: str) -> list[pb.FullHash.FullHashDetail]:
    """What the generation in force says of an expression."""
    table, hashed = current(store).table, full_hash(expression)
    rows = [row for row in table.find(int.from_bytes(hashed[:4])) if table.full_hash(row) == hashed]
    return [each for row in rows for each in pb.FullHash.FromString(table.details(row)).full_hash_details]


@functools.cache
def _published(lines: tuple[str, ...], list_name: str) -> Path:
    """Publish a list once for all tests of a run: each gets a copy."""
    folder = tempfile.mkdtemp(prefix="secondlook-store-")
    atexit.register(shutil.rmtree, folder)
    store = ServerStore(Path(folder) / "server")
    if lines:
        put(store, lines, list_name=list_name)
    out(store)
    return store.root


@asynccontextmanager
async def listening(
    reader: Reader | ServerStore, settings: AppSettings | None = None
) -> AsyncIterator[tuple[Serving, httpx.AsyncClient]]:
    """A server on a free port, and a client of it."""
    if isinstance(reader, ServerStore):
        reader = FileReader(reader)
    serving = Serving(ServerApp(reader, settings), [listen_on("127.0.0.1", 0)])
    await serving.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{serving.port}", trust_env=False) as client:
        try:
            yield serving, client
        finally:
            await serving.stop()
