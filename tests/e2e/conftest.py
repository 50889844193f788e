"""Fixtures of the end-to-end tests."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import prepared
from e2e.origin import Origin, origin
from e2e.prepared import REAL_STARTS
from e2e.processes import Proxy, Server, make_certificate

prepared.allow()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, leave the soak out."""
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if item.get_closest_marker("soak") and not os.environ.get("SECONDLOOK_SOAK"):
            item.add_marker(pytest.mark.skip(reason="a long test: `make soak` runs it"))
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def real_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start every process as users do: for stories that are about starting (see `e2e.prepared`)."""
    monkeypatch.setenv(REAL_STARTS, "1")


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Start proxies with a configuration given as text; each is stopped at the end."""
    started: list[Proxy] = []

    def start(
        config: str = "", *arguments: str, name: str = "state", folder: Path = tmp_path, **options: Any
    ) -> Proxy:
        path = folder / f"{name}.yaml"
        path.write_text(config)
        proxy = Proxy(folder / name, path, *arguments, **options)
        started.append(proxy)
        return proxy

    yield start
    for proxy in started:
        if proxy.process.poll() is None:
            proxy.stop()


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory, where there is one: a test of times must not measure a busy disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="secondlook-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start Smart Protection Servers on state folders; each is stopped at the end."""
    started: list[Server] = []

    def start(state: Path, *arguments: str, port: int = 0, address: str = "127.0.0.1") -> Server:
        server = Server(state, *arguments, port=port, address=address)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture
def plain_origin() -> Iterator[Origin]:
    """A counting origin on plain HTTP."""
    with origin() as found:
        yield found


@pytest.fixture
def tls_origin(tmp_path: Path) -> Iterator[Origin]:
    """A counting origin on HTTPS with a certificate of its own."""
    with origin(certificate=make_certificate(tmp_path, "localhost", "127.0.0.1")) as found:
        yield found
