"""Everything in the one process of `mitmdump -s addon/main.py` (or mitmweb), from the same parts.

For development: mitmproxy's script loader takes the filter away when the file changes, and keeps serving.
`secondlook run` is for everything else.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

from mitmproxy import ctx

from secondlook.agent.check.watch import Watcher
from secondlook.agent.metrics import count_events
from secondlook.config.agent import Settings
from secondlook.config.source import load_settings
from secondlook.proxy.worker import Surroundings, build_addons
from secondlook.run.assembly.background.background import start_background
from secondlook.run.assembly.check.ledger_opening import open_ledger
from secondlook.run.assembly.check.parts import PASSAGES, LedgerRecords, LedgerTail, Parts, own_site_key
from secondlook.run.assembly.check.scanning import clamd_reporter
from secondlook.run.assembly.monitoring.ready import why_not_ready
from secondlook.run.supervisor.descriptors import MOST, raise_file_limit

CONFIG_VARIABLE = "SECONDLOOK_CONFIG"
HEARTBEAT_S = 5.0


class Starter:
    """Starts the parts when mitmproxy runs, and ends them with it; stands before our other addons."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self._settings = settings
        self._parts = parts
        self._stack = contextlib.AsyncExitStack()
        self._server_port: int | None = None
        self._watcher: Watcher | None = None

    def own_ports(self) -> frozenset[int]:
        """Return the ports that the proxy does not lead to."""
        return frozenset() if self._server_port is None else frozenset({self._server_port})

    def not_ready(self) -> str | None:
        """Return what keeps this from protecting, in words."""
        return "it starts" if self._watcher is None else why_not_ready(self._parts, self._watcher)

    async def running(self) -> None:
        """Start what works beside the traffic; a blocked origin is never contacted from now on."""
        ctx.options.update(connection_strategy="lazy")  # type: ignore[no-untyped-call]
        background = await start_background(self._stack, self._parts)
        self._watcher = background.watcher
        if background.embedded is not None:
            self._server_port = background.embedded.port

    async def done(self) -> None:
        """End everything in order."""
        await self._parts.gatekeeper.aclose()
        await self._stack.aclose()
        self._parts.ledger.close()


def make_addons() -> list[Any]:
    """Make the addons of a script, inside mitmproxy's event loop.

    Reads the file that `SECONDLOOK_CONFIG` names, else the repository's `proxy.yaml`. Raises ConfigError
    and LedgerError.
    """
    raise_file_limit(MOST)
    named = os.environ.get(CONFIG_VARIABLE)
    settings = load_settings(Path(named) if named else Path(__file__).resolve().parents[3] / "proxy.yaml")
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    ledger = open_ledger(settings, keeper=True, counted=count_events)
    parts = Parts.build(settings, ledger, heartbeat_s=HEARTBEAT_S)
    starter = Starter(settings, parts)
    around = Surroundings(
        gatekeeper=parts.gatekeeper,
        records=LedgerRecords(ledger, parts.suffixes, parts.clock, parts.rulebook),
        site_key=own_site_key(settings.state),
        own_ports=starter.own_ports,
        not_ready=starter.not_ready,
        override_s=parts.override_s,
        unopened_s=parts.unopened_s,
        list_title=parts.list_title,
        passages=LedgerTail(ledger, PASSAGES),
        on_clamd=clamd_reporter(parts, None),
    )
    return [starter, *build_addons(settings, around)]
