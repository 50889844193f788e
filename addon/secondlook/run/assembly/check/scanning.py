"""Engines put together from settings: what keeps their rules up to date, and what is reported of them."""

from collections.abc import Callable

from secondlook.config.agent import Settings
from secondlook.core.event import Event, EventKind
from secondlook.core.scan import CLAMD
from secondlook.download.examination.file_scanner import FileScanner
from secondlook.run.assembly.check.parts import Parts
from secondlook.scan.compiling import RuleSource
from secondlook.scan.rule_keeper import RuleChange, RuleKeeper
from secondlook.server.feeds.rule_versions import files_in_force


def rule_sources(settings: Settings) -> list[RuleSource]:
    """List the files and folders of rules that the configuration names, and what feeds have brought."""
    return [
        *(RuleSource(str(path), path) for path in settings.scan.yara.rules),
        *(
            RuleSource(f"feed {name}", files)
            for name, folder in settings.rule_feeds
            if (files := files_in_force(folder)) is not None
        ),
    ]


def clamd_reporter(parts: Parts, process: str | None) -> Callable[[str | None], None]:
    """Return what records that clamd went away, or answers again, as of a server."""

    def report(trouble: str | None) -> None:
        parts.ledger.recorder.record(
            Event(
                id="",
                kind=EventKind.SERVER,
                time=parts.clock.now(),
                server=CLAMD,
                detail="closed: answers again" if trouble is None else f"opened: {trouble}",
                extra=None if process is None else {"process": process},
            )
        )

    return report


def make_scanner(parts: Parts) -> FileScanner:
    """Make what has files of this machine looked into; whoever has it closes it."""
    settings = parts.settings
    return FileScanner(
        settings.downloads.archives, settings.looking, settings.state, on_clamd=clamd_reporter(parts, None)
    )


def make_rule_keeper(parts: Parts) -> RuleKeeper:
    """Make what compiles rules and puts them in force; each change is an event."""

    def report(change: RuleChange) -> None:
        if change.error is not None:
            kind, detail = EventKind.ERROR, f"YARA rules refused, the last good ones stay: {change.error}"
        else:
            kind, detail = EventKind.UPDATE, f"{change.count} YARA rules in force"
        now = parts.clock.now()
        parts.ledger.recorder.record(Event(id="", kind=kind, time=now, list="yara", detail=detail))

    return RuleKeeper(parts.settings.state, lambda: rule_sources(parts.settings), parts.clock.now, report)
