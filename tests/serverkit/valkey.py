"""A real Redis server (the protocol of Valkey), single or as a cluster of three, on free loopback ports."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serverkit.ports import free_port

PATIENCE_S = 60.0


def _program(*names: str) -> str:
    """Return the path of the first that is installed, or skip the test."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no {' or '.join(names)} is installed")
    return found


class Node:
    """One server process."""

    def __init__(self, folder: Path, port: int, *, cluster: bool) -> None:
        server = _program("valkey-server", "redis-server")
        self._client = _program("valkey-cli", "redis-cli")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        options = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        if cluster:
            options += [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1500",
                "--cluster-require-full-coverage",
                "no",
            ]
        self.process = subprocess.Popen(
            [server, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wait()

    def cli(self, *words: str) -> str:
        done = subprocess.run(
            [self._client, "-p", str(self.port), *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.stdout

    def lose(self, pattern: str) -> None:
        """Delete the keys whose names fit."""
        for name in self.cli("keys", pattern).split():
            self.cli("del", name)

    def wait(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while "PONG" not in self.cli("ping"):
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def single(folder: Path) -> Iterator[tuple[str, list[Node]]]:
    """One server."""
    node = Node(folder, free_port(), cluster=False)
    try:
        yield f"valkey://127.0.0.1:{node.port}/0", [node]
    finally:
        node.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[Node]]]:
    """Three servers that share the slots."""
    nodes: list[Node] = []
    try:
        while len(nodes) < 3:
            nodes.append(Node(folder / str(len(nodes)), free_port(bus=10_000), cluster=True))
        places = [f"127.0.0.1:{node.port}" for node in nodes]
        nodes[0].cli("--cluster", "create", *places, "--cluster-yes")
        end = time.monotonic() + PATIENCE_S
        while not all("cluster_state:ok" in node.cli("cluster", "info") for node in nodes):
            assert time.monotonic() < end, "the servers do not come together"
            time.sleep(0.02)
        yield f"valkey+cluster://{','.join(places)}", nodes
    finally:
        for node in nodes:
            node.kill()
