"""What works beside the traffic: embedded server, updates, the second look, notices.

`secondlook run` has it in the service process, `mitmdump -s` in the one process there is.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from secondlook.agent.actions.kept_notices import KeptNotices
from secondlook.agent.actions.notifier import discard
from secondlook.agent.actions.quarantine import Quarantine
from secondlook.agent.check.watch import Watcher
from secondlook.agent.pattern.updater import PatternUpdater
from secondlook.config.own_hosts import own_hosts
from secondlook.core.answer import EMBEDDED
from secondlook.core.event import Event, EventKind
from secondlook.core.lists.pattern import Pattern
from secondlook.ground.errors import LedgerError, PatternError
from secondlook.ground.tasks import Tasks, Work
from secondlook.run.assembly.background.reporting import start_reporting
from secondlook.run.assembly.background.second_look import (
    SecondLook,
    hear_recoveries,
    make_notifier,
    make_quarantine,
    make_second_look,
)
from secondlook.run.assembly.background.server_watch import watch_servers
from secondlook.run.assembly.background.updates import make_updater, sources_of
from secondlook.run.assembly.check.ledger_opening import NOTICES_FILE
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.assembly.check.scanning import make_rule_keeper, make_scanner
from secondlook.run.assembly.check.viewing import make_watcher
from secondlook.run.supervisor.runfile import SERVER_FOLDER
from secondlook.scan.rule_keeper import RuleKeeper
from secondlook.server.embedded import EmbeddedServer
from secondlook.server.feeds.taking import FeedNotice

logger = logging.getLogger(__name__)

FIRST_UPDATE_S = 10.0
FIRST_AGAIN_S = 0.5
SETTLE_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Background:
    """The parts beside the traffic, running."""

    embedded: EmbeddedServer | None
    updater: PatternUpdater
    second_look: SecondLook
    quarantine: Quarantine
    watcher: Watcher


async def start_background(
    stack: contextlib.AsyncExitStack,
    parts: Parts,
    *,
    sock: socket.socket | None = None,
    on_pattern: Callable[[Pattern], None] | None = None,
) -> Background:
    """Start everything beside the traffic, to be ended by `stack`; returns when the first lists are in place.

    `sock` is the listening socket of the embedded server (None: any free port). Raises ConfigError.
    """
    settings = parts.settings
    await parts.lookup.start()
    stack.push_async_callback(parts.lookup.aclose)
    rules = make_rule_keeper(parts)
    updater = make_updater(parts, servers=settings.servers)
    embedded = None
    if settings.servers.embedded.enabled:
        embedded = _embedded_server(parts, updater, rules)
        await embedded.start(sock)
        stack.push_async_callback(embedded.stop)
        await parts.lookup.set_local(embedded.url)
        updater.use(list(sources_of(parts)))
    tasks = Tasks()
    stack.push_async_callback(tasks.aclose)
    notifier = make_notifier(parts)
    quarantine = make_quarantine(settings, parts)
    scanner = make_scanner(parts)
    stack.push_async_callback(scanner.aclose)
    second_look = make_second_look(parts, notifier, quarantine, scanner)

    def taken_up(pattern: Pattern) -> None:
        if on_pattern is not None:
            on_pattern(pattern)
        second_look.new_lists()

    watcher = make_watcher(parts, on_pattern=taken_up, on_confirmed=second_look.new_finding)
    await _first_generation(updater)
    await watcher.refresh()
    work: dict[str, Work | None] = {
        "half-moved files": partial(_settle, quarantine),
        "watcher": watcher.run,
        "scan rules": rules.run,
        "updater": updater.run,
        "servers over time": partial(watch_servers, parts.lookup, parts.ledger.counts, updater.alerts),
        "second look": second_look.rechecker.run,
        "files again": second_look.rescan.run,
        "fetching again": second_look.content.run if second_look.content else None,
        "late verdicts": second_look.late.run if second_look.late else None,
        "notices": notifier.run if notifier else None,
    }
    for name, run in work.items():
        if run is not None:
            tasks.keep(name, run)
    if notifier is None:
        tasks.start("notices of before", discard(KeptNotices(settings.state / NOTICES_FILE)))
    recoveries = hear_recoveries(parts, second_look.rechecker)
    recoveries.start()
    stack.push_async_callback(recoveries.aclose)
    await start_reporting(stack, parts)
    return Background(embedded, updater, second_look, quarantine, watcher)


def _embedded_server(parts: Parts, updater: PatternUpdater, rules: RuleKeeper) -> EmbeddedServer:
    """Make the server that has `updater` look at each new generation, and `rules` at each feed."""

    def on_feed(notice: FeedNotice) -> None:
        _record_feed(parts, notice)
        rules.trigger()

    return EmbeddedServer(
        parts.settings.state / SERVER_FOLDER,
        parts.clock,
        feeds=parts.settings.feeds,
        own_hosts=own_hosts(parts.settings),
        proxy=parts.settings.upstream_proxy,
        on_generation=lambda _: updater.announce(),
        on_feed=on_feed,
    )


async def _settle(quarantine: Quarantine) -> None:
    """Finish what a crash left half done, as soon as the ledger can be read."""
    while True:
        try:
            return await quarantine.settle()
        except LedgerError:
            await asyncio.sleep(SETTLE_AGAIN_S)


async def _first_generation(updater: PatternUpdater) -> None:
    """Where there is no pattern yet, wait for the first one, but not for ever."""
    with contextlib.suppress(PatternError):
        if updater.read_stamp() is not None:
            return
    try:
        async with asyncio.timeout(FIRST_UPDATE_S):
            while True:
                if await _first_update(updater):
                    return
                await asyncio.sleep(FIRST_AGAIN_S)
    except TimeoutError:
        logger.warning("the first lists take long; traffic is checked by asking until they are here")


async def _first_update(updater: PatternUpdater) -> bool:
    """Update once; False where it is worth another try at once."""
    outcomes = await updater.update_now()
    for outcome in outcomes:
        if outcome.error is not None:
            logger.warning("no lists from %s yet: %s", outcome.server, outcome.error)
    # Our own server may be slow for a moment; others are asked again in their time.
    return not any(outcome.error and outcome.server == EMBEDDED for outcome in outcomes)


_KINDS = {
    "taken": EventKind.UPDATE,
    "switched on": EventKind.ACTION,
    "switched off": EventKind.ACTION,
}


def _record_feed(parts: Parts, notice: FeedNotice) -> None:
    """Record what became of a fetch; what did not change is no news."""
    if notice.outcome == "unchanged":
        return
    parts.ledger.recorder.record(
        Event(
            id="",
            kind=_KINDS.get(notice.outcome, EventKind.ERROR),
            time=parts.clock.now(),
            server="embedded",
            detail=f"feed {notice.feed} {notice.outcome}: {notice.detail}",
        )
    )
