"""Events out: to a syslog daemon and to a webhook, as JSON Lines, in the order of the log.

Both follow the ledger, so they send what it keeps (the privacy level holds) and miss nothing while they
cannot deliver: how far each has come stands in `STATE/outlets.json`, and goes on from there after a
restart. An event may be sent twice around a crash, never not at all while the log keeps it.
"""

import asyncio
import json
import logging
import logging.handlers
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import httpx

from secondlook.config.record import LogSettings, SyslogSettings, WebhookSettings
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.core.event import Event
from secondlook.ground.errors import LedgerError
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.lanes import OUTSIDE, STATE
from secondlook.ledger.log.event_log import EventLog
from secondlook.ledger.log.shape import json_lines
from secondlook.server.feeds.fetch import make_client

logger = logging.getLogger(__name__)

BATCH = 500
LOOK_EVERY_S = 0.5
TIMEOUT_S = 10.0
LONGEST_WAIT_S = 300.0


class Outlet(Protocol):
    """One place where events go; `name` keeps its position apart from the others'."""

    name: str

    async def deliver(self, events: Sequence[Event]) -> None:
        """Deliver a batch whole. Raises OSError or httpx.HTTPError when it could not."""

    async def aclose(self) -> None:
        """Let go of connections."""


class SyslogOutlet:
    """A syslog daemon: a local socket, or `host:port` by UDP (RFC 3164 framing of one JSON object)."""

    name = "syslog"

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._handler: logging.handlers.SysLogHandler | None = None

    async def deliver(self, events: Sequence[Event]) -> None:
        """Send each event as a message of its own."""
        await OUTSIDE.run(self._send, list(json_lines(events)))

    def _send(self, lines: list[str]) -> None:
        if self._handler is None:
            host, _, port = self._settings.address.rpartition(":")
            where: str | tuple[str, int] = (
                (host, int(port)) if port.isdigit() and host else self._settings.address
            )
            facility = logging.handlers.SysLogHandler.facility_names[self._settings.facility]
            handler = logging.handlers.SysLogHandler(where, facility)
            handler.ident = "secondlook: "
            handler.handleError = _raise  # type: ignore[method-assign]
            self._handler = handler
        for line in lines:
            self._handler.emit(
                logging.LogRecord("secondlook", logging.INFO, "", 0, line.rstrip("\n"), None, None)
            )

    async def aclose(self) -> None:
        """Close the socket."""
        if self._handler is not None:
            self._handler.close()


def _raise(record: logging.LogRecord) -> None:
    """Let a message that could not be sent be an error, not a line on stderr."""
    del record
    raise  # noqa: PLE0704 (called by logging inside its except clause)


class WebhookOutlet:
    """An HTTP endpoint that takes batches of JSON Lines by POST; anything but 2xx is tried again."""

    name = "webhook"

    def __init__(self, settings: WebhookSettings, proxy: UpstreamProxySettings | None) -> None:
        self._settings = settings
        self._client = make_client(proxy)

    async def deliver(self, events: Sequence[Event]) -> None:
        """Post a batch."""
        headers = {"content-type": "application/jsonl", **self._settings.headers}
        body = "".join(json_lines(events)).encode()
        asked = self._client.stream(
            "POST", self._settings.url, content=body, headers=headers, timeout=TIMEOUT_S
        )
        async with asked as answer:  # whatever it answers beside its status is not read
            answer.raise_for_status()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class Outlets:
    """Feeds every outlet from the log; `run` is a task that goes on for ever."""

    def __init__(self, outlets: Sequence[Outlet], log: EventLog, state: Path) -> None:
        self._outlets = outlets
        self._log = log
        self._path = state / "outlets.json"
        self._positions: dict[str, str] = {}
        self._keeping = asyncio.Lock()

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._positions = await STATE.run(self._read)
        try:
            await asyncio.gather(*(self._feed(outlet) for outlet in self._outlets))
        finally:
            for outlet in self._outlets:
                await outlet.aclose()

    async def _feed(self, outlet: Outlet) -> None:
        wait_s = LOOK_EVERY_S
        while True:
            try:
                more = await self._deliver(outlet)
            except Exception as error:
                if wait_s == LOOK_EVERY_S:
                    unexpected = not isinstance(error, OSError | httpx.HTTPError | LedgerError)
                    message = "%s gets no events: %s; trying again"
                    logger.warning(message, outlet.name, error, exc_info=unexpected)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
                await asyncio.sleep(wait_s)
                continue
            wait_s = LOOK_EVERY_S
            if not more:
                await asyncio.sleep(LOOK_EVERY_S)

    async def _deliver(self, outlet: Outlet) -> bool:
        """Deliver what comes next; False when there is nothing. Raises what outlet and ledger raise."""
        cursor = self._positions.get(outlet.name)
        if cursor is None:
            await self._keep(outlet.name, await self._log.run(self._log.end))
            return False
        events, following = await self._log.run(self._log.tail, after=cursor, limit=BATCH)
        if events:
            await outlet.deliver(events)
            await self._keep(outlet.name, following)
        return bool(events)

    async def _keep(self, name: str, cursor: str) -> None:
        self._positions[name] = cursor
        async with self._keeping:
            await STATE.run(self._write)

    def _read(self) -> dict[str, str]:
        """Return how far each has come; without its cursor one begins at the end of the log."""
        try:
            kept = read_json(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        known = kept.items() if isinstance(kept, dict) else ()
        return {name: cursor for name, cursor in known if isinstance(cursor, str)}

    def _write(self) -> None:
        # not waited for: what a power cut takes back is sent again
        write_whole(self._path, json.dumps(self._positions).encode(), synced=False)


def make_outlets(
    settings: LogSettings, proxy: UpstreamProxySettings | None, log: EventLog, state: Path
) -> Outlets | None:
    """Make the outlets that the settings name, or None where there is none."""
    outlets: list[Outlet] = []
    if settings.syslog is not None:
        outlets.append(SyslogOutlet(settings.syslog))
    if settings.webhook is not None:
        outlets.append(WebhookOutlet(settings.webhook, proxy))
    return Outlets(outlets, log, state) if outlets else None
