"""`secondlook scan`: looks through files and folders with everything that a download is checked by."""

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.checking.check import BLOCKED_EXIT, UNVERIFIABLE_EXIT, print_check
from secondlook.cli.context import CommandContext, with_context
from secondlook.cli.options import flag
from secondlook.cli.output import fail, print_json, print_line, progress

if TYPE_CHECKING:
    from secondlook.run.assembly.answers.explaining import Json
    from secondlook.run.assembly.answers.file_check import CheckedFile, FileCheck
    from secondlook.run.assembly.check.parts import Parts

app = typer.Typer(add_completion=False)


@app.command()
@with_context
def scan(
    context: CommandContext,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, and folders with all below.")],
    quarantine: Annotated[bool, flag("--quarantine", "Put what is blocked into quarantine.")] = False,
    offline: Annotated[bool, flag("--offline", "Ask no server.")] = False,
) -> None:
    """Check every file by its digests and by the engines that look into it.

    Shows what is blocked or cannot be verified, with --json every file. Exit status: 10 if any is blocked,
    else 11 if any cannot be verified or read, else 0.
    """
    import asyncio

    for path in paths:
        if not path.exists():
            fail(f"cannot read {path}: No such file or directory")
    paths = [path.absolute() for path in paths]
    look = _Look(context, quarantine=quarantine)
    sys.exit(asyncio.run(look.run(paths, offline=offline)))


class _Look:
    def __init__(self, context: CommandContext, *, quarantine: bool) -> None:
        self._context = context
        self._as_json = context.as_json
        self._quarantine = quarantine
        self._counts = Counter({"files": 0, "blocked": 0, "unverifiable": 0, "unreadable": 0})

    async def run(self, paths: list[Path], *, offline: bool) -> int:
        """Look at every file; return the exit status."""
        from secondlook.config.extra import has
        from secondlook.run.assembly.answers.file_check import FileCheck
        from secondlook.run.assembly.check.asking import asking

        files, context = list(_files(paths)), self._context
        opened = context.ledger() if self._quarantine else context.ledger_to_read()
        with opened as ledger, progress("looking", len(files)) as advance:
            async with (
                asking(context.settings, ledger, offline=offline) as parts,
                aclosing(FileCheck.of(parts)) as checks,
            ):
                for path in files:
                    await self._one(parts, checks, path)
                    advance(1)
        if not self._as_json:
            print_line(", ".join(f"{count:,} {what}" for what, count in self._counts.items()))
            if self._context.settings.scan.clamd is None and not has("yara"):
                print_line(
                    "no engine looked into them: see `scan` in the configuration, and the extra `yara`"
                )
        if self._counts["blocked"]:
            return BLOCKED_EXIT
        return UNVERIFIABLE_EXIT if self._counts["unverifiable"] or self._counts["unreadable"] else 0

    async def _one(self, parts: "Parts", checks: "FileCheck", path: Path) -> None:
        from secondlook.run.assembly.answers.explaining import explanation

        self._counts["files"] += 1
        try:
            found = await checks.check(path, None)
        except OSError as error:
            self._counts["unreadable"] += 1
            reason = f"cannot be read: {error.strerror or error}"
            if self._as_json:
                print_json({"subject": str(path), "decision": None, "unverifiable": reason})
            else:
                print_line(f"{path}: {reason}")
            return
        explained = explanation(str(path), found.subject, found.context, found.decision)
        blocked, open_still = explained["decision"] == "block", explained["unverifiable"] is not None
        if blocked:
            self._counts["blocked"] += 1
            if self._quarantine:
                explained["quarantine"] = await self._put_away(parts, path, found)
        elif open_still:
            self._counts["unverifiable"] += 1
        if self._as_json:
            print_json(explained)
        elif blocked or open_still:
            self._print(explained)

    @staticmethod
    def _print(explained: "Json") -> None:
        print_check(explained)
        for outcome in explained.get("quarantine", ()):
            print_line(f"  quarantine  {outcome}")

    async def _put_away(self, parts: "Parts", path: Path, found: "CheckedFile") -> list[str]:
        """Put a file into quarantine, with its copies beside it; return what came of it."""
        from secondlook.agent.check.record import confirmed_entry
        from secondlook.run.assembly.background.second_look import make_quarantine

        evidence = found.decision.evidence
        evidence = replace(evidence, hit=found.subject.identity)  # the file itself, whatever lies in it
        now = parts.clock.now()
        entry = confirmed_entry(evidence, found.subject, found.context, now=now)
        settings = parts.settings
        downloads = settings.downloads.model_copy(update={"folders": (path.parent,)})
        actions = settings.actions.model_copy(update={"file": "quarantine"})
        settings = settings.model_copy(update={"downloads": downloads, "actions": actions})
        return [outcome.detail for outcome in await make_quarantine(settings, parts).act(entry)]


def _files(paths: list[Path]) -> Iterator[Path]:
    """Yield every regular file, each once, and folders that cannot be read; links inside are not followed."""
    seen: set[tuple[int, int]] = set()
    for given in paths:
        for path in _below(given) if given.is_dir() else (given,):
            try:
                status = path.stat()
            except OSError:
                yield path  # what is wrong with it is shown when it is read
                continue
            key = (status.st_dev, status.st_ino)
            if stat.S_ISDIR(status.st_mode):
                yield path
            elif stat.S_ISREG(status.st_mode) and key not in seen:
                seen.add(key)
                yield path


def _below(folder: Path) -> Iterator[Path]:
    closed: list[OSError] = []
    for where, folders, names in os.walk(folder, onerror=closed.append):
        folders.sort()
        for name in sorted(names):
            path = Path(where, name)
            if not path.is_symlink():
                yield path
    yield from (Path(error.filename) for error in closed)
