"""The second look, put together: who judges, what follows, who is notified."""

import random
from dataclasses import dataclass

from secondlook.agent.actions.enforcement import Enforcement
from secondlook.agent.actions.notice import AppriseSender
from secondlook.agent.actions.notifier import Notifier
from secondlook.agent.actions.quarantine import Quarantine
from secondlook.agent.recheck.batch_check import BatchCheck
from secondlook.agent.recheck.content_check import ContentCheck
from secondlook.agent.recheck.rechecker import Rechecker
from secondlook.agent.recheck.refetch import Refetcher, RefetchLimits
from secondlook.agent.recheck.renewal import Renewal
from secondlook.agent.recheck.rescan import Rescan
from secondlook.agent.recheck.retro_check import RetroCheck
from secondlook.config.agent import Settings
from secondlook.core.event import Event, EventKind
from secondlook.download.examination.file_scanner import FileScanner
from secondlook.ledger.ledger import EventFilter
from secondlook.lookup.tiered import is_recovery
from secondlook.proxy.event_follower import Follower
from secondlook.run.assembly.check.ledger_opening import NOTICES_FILE
from secondlook.run.assembly.check.parts import LedgerTail, Parts
from secondlook.scan.rule_set import FOLDER

QUARANTINE_FOLDER = "quarantine"
SCANNED_WITH = "history.json"  # versions of the engines that have seen the history
SERVER_EVENTS = EventFilter(kind=EventKind.SERVER.value)
HEAR_EVERY_S = 1.0


def make_notifier(parts: Parts) -> Notifier | None:
    """Make the notifier, or None where nobody wants notices."""
    settings = parts.settings
    notify = settings.notify
    if not settings.actions.notify or not (notify.urls or notify.desktop):
        return None
    return Notifier(
        AppriseSender(notify.urls, desktop=notify.desktop, proxy=settings.upstream_proxy),
        parts.clock,
        at_most_every_s=notify.at_most_every,
        privacy=settings.log.privacy,
        kept=settings.state / NOTICES_FILE,
    )


def make_quarantine(settings: Settings, parts: Parts) -> Quarantine:
    """Make what deals with bad files in the download folders of `settings`: a command may name others."""
    return Quarantine(
        settings.state / QUARANTINE_FOLDER,
        parts.ledger.quarantine,
        parts.ledger.rules,
        parts.clock,
        folders=settings.downloads.folders,
        action=settings.actions.file,
        fallback=settings.actions.fallback,
        proxy=settings.proxy_name,
        shared=settings.shares_ledger,
    )


@dataclass(frozen=True, slots=True)
class SecondLook:
    """The rechecker, and what goes on from there.

    `late` holds the past against what is learnt later (None: nothing is remembered), `content` fetches again
    what was cleared (None: not wanted).
    """

    rechecker: Rechecker
    rescan: Rescan
    late: RetroCheck | None
    content: ContentCheck | None

    def new_lists(self) -> None:
        """Look at everything again: other lists are in force."""
        self.rechecker.trigger("new lists are in place", renew_all=True)
        self.new_finding()

    def new_finding(self) -> None:
        """Hold the past against what is known now: something else is listed."""
        if self.late is not None:
            self.late.trigger()


def make_second_look(
    parts: Parts, notifier: Notifier | None, quarantine: Quarantine, scanner: FileScanner
) -> SecondLook:
    """Make the second look of the one process that runs it."""
    settings = parts.settings
    batch_check = BatchCheck(
        parts.view,
        parts.lookup,
        parts.cache,
        parts.clock,
        batch=settings.recheck.batch,
        stale_after_s=settings.pattern.stale_after,
    )
    enforcement = Enforcement(
        parts.view,
        parts.ledger.confirmed,
        parts.ledger.history,
        parts.ledger.recorder,
        parts.clock,
        notifier=notifier,
        files=quarantine,
        url_subject=parts.checker.subject,
        reblock_s=settings.downloads.reblock,
        lease_s=settings.recheck.lease,
    )
    rescan = Rescan(
        scanner,
        parts.ledger.history,
        enforcement,
        parts.clock,
        folders=settings.downloads.folders,
        mark=settings.state / FOLDER / SCANNED_WITH,
        history_s=settings.recheck.history,
    )
    content = _make_content_check(parts, batch_check, enforcement)
    rechecker = Rechecker(
        batch_check,
        parts.ledger.queue,
        enforcement,
        Renewal(batch_check, parts.ledger.confirmed, parts.clock, still_found=rescan.still_found),
        parts.clock,
        settings.recheck,
        random=random.random,
        complete=rescan.complete,
        on_cleared=None if content is None else content.offer,
    )
    return SecondLook(rechecker, rescan, _make_retro_check(parts, enforcement), content)


def _make_content_check(
    parts: Parts, batch_check: BatchCheck, enforcement: Enforcement
) -> ContentCheck | None:
    """Make what fetches cleared downloads again, or None where that is not wanted."""
    refetch = parts.settings.recheck.refetch
    if not refetch.enabled:
        return None
    limits = RefetchLimits(refetch.max_bytes, refetch.timeout, refetch.redirects)
    return ContentCheck(Refetcher(limits), batch_check, enforcement, parts.clock)


def _make_retro_check(parts: Parts, enforcement: Enforcement) -> RetroCheck | None:
    """Make what holds the history against new findings, or None where no history is kept."""
    recheck = parts.settings.recheck
    if recheck.history <= 0:
        return None
    return RetroCheck(parts.view, parts.ledger.history, enforcement, parts.clock, recheck)


def hear_recoveries(parts: Parts, rechecker: Rechecker) -> Follower:
    """Let the second look hear from the log which servers answer the traffic again.

    Each process has circuits of its own: of a short outage the traffic may be the only one to know.
    """

    def take(event: Event) -> None:
        if is_recovery(event):
            rechecker.trigger(f"{event.server} answers the traffic again")

    return Follower(LedgerTail(parts.ledger, SERVER_EVENTS), parts.clock.now, take, every_s=HEAR_EVERY_S)
