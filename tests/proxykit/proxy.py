"""A real worker in a thread, serving a socket of this process."""

import asyncio
import functools
import shutil
import socket
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.loop import LoopThread
from secondlook.config.agent import Settings
from secondlook.core.event import Event, EventKind
from secondlook.core.tls_exception import LOOK_EVERY_S, PASSTHROUGH
from secondlook.proxy.mitm.transport.fair_selector import FairLoop
from secondlook.proxy.mitm.transport.spread import Spread
from secondlook.proxy.worker import Surroundings, Worker
from secondlook.run.assembly.check.policies import policies_of
from secondlook.run.authority import make_authority


@functools.cache
def _authority() -> Path:
    """Make one certificate authority for all proxies of a test run: keys take long."""
    folder = Path(tempfile.mkdtemp(prefix="secondlook-ca-"))
    make_authority(folder, "ecdsa")
    return folder


class Log:
    """The end of a log that nobody else writes."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def recent(self, since: float) -> tuple[list[Event], str]:
        return [event for event in self.events if event.time >= since], str(len(self.events))

    async def after(self, cursor: str) -> tuple[list[Event], str]:
        return self.events[int(cursor) :], str(len(self.events))

    def record(self, event: Event) -> None:
        self.events.append(event)


class Records:
    """What a gatekeeper knows, and the log."""

    def __init__(self, gatekeeper: FakeGatekeeper, log: Log) -> None:
        self.whole, self.make_exception = gatekeeper.whole, gatekeeper.make_exception
        self.closed = gatekeeper.closed
        self._gatekeeper = gatekeeper
        self._log = log

    async def event(self, event_id: str) -> Event | None:
        written = next((event for event in self._log.events if event.id == event_id), None)
        return written or await self._gatekeeper.event(event_id)

    async def pass_through(self, event: Event, duration_s: float) -> None:
        passed = replace(event, id=f"P{len(self._log.events)}", kind=EventKind.OVERRIDDEN, stage=PASSTHROUGH)
        self._log.record(replace(passed, time=time.time(), detail=f"{duration_s:g} s"))
        await asyncio.sleep(LOOK_EVERY_S + 0.1)


class RunningProxy:
    """A worker that serves on 127.0.0.1 until it is closed, `beside` another one on its socket."""

    def __init__(
        self,
        state: Path,
        gatekeeper: FakeGatekeeper,
        *,
        beside: "RunningProxy | None" = None,
        spread: Spread | None = None,
        **settings: Any,
    ) -> None:
        settings.setdefault("mitmproxy", {"ssl_insecure": True})
        downloads: dict[str, Any] = {"archives": {}, **settings.get("downloads", {})}
        if isinstance(downloads["archives"], dict):  # a busy machine is no verdict
            downloads["archives"] = {"time": 60, **downloads["archives"]}
        settings["downloads"] = downloads
        self.settings = Settings.model_validate({"state": state, **settings})
        if not (state / "ca").exists():
            shutil.copytree(_authority(), state / "ca")
        self.gatekeeper = gatekeeper
        self.own_ports: set[int] = set()
        self.log = Log()
        self._thread = LoopThread(FairLoop)
        self._socket: socket.socket = (
            socket.create_server(("127.0.0.1", 0)) if beside is None else beside._socket.dup()
        )
        self._spread = spread
        self.port = self._socket.getsockname()[1]
        self.worker = self._thread.call(self._start())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.settings.state / "ca" / "mitmproxy-ca-cert.pem"

    def call(self, work):
        return self._thread.call(work)

    async def _start(self) -> Worker:
        policies = policies_of(self.settings)
        around = Surroundings(
            gatekeeper=self.gatekeeper,
            records=Records(self.gatekeeper, self.log),
            site_key=b"k" * 32,
            own_ports=lambda: self.own_ports,
            not_ready=lambda: None,
            override_s=lambda client, user: policies.of(client, user).override_s,
            unopened_s=lambda client, user: policies.of(client, user).unopened_s,
            passages=self.log,
        )
        worker = Worker(self.settings, [self._socket], around, self._spread)
        await worker.start()
        await asyncio.sleep(0)
        return worker

    def close(self) -> None:
        self._thread.call(self.worker.drain(0.0))
        self._thread.close()
        self._socket.close()
