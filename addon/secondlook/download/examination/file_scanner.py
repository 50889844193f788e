"""Engines for files that lie on this machine: for the second look, and for who asks on the command line."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from secondlook.config.scan import ScanSettings
from secondlook.config.traffic import ArchiveSettings
from secondlook.core.scan import CLAMD, YARA, EngineReport
from secondlook.download.examination.inspector import ArchiveInspector, Inside, rule_look
from secondlook.ground.lanes import FILES
from secondlook.scan.clamd import Clamd
from secondlook.scan.clamd_wire import ClamdError
from secondlook.scan.results import NAME, Results
from secondlook.scan.rule_set import FOLDER, RulesInForce

_PIECE_BYTES = 256 << 10


class OpenFile:
    """A file that somebody has open, for the process that looks into it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size: int = os.fstat(file.fileno()).st_size

    async def file(self) -> IO[bytes]:
        """Return it."""
        return self._file


class FileScanner:
    """Looks into one file after the other; `agent.ports.FileScanner`."""

    def __init__(
        self,
        archives: ArchiveSettings,
        scan: ScanSettings,
        state: Path,
        *,
        on_clamd: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self.results = Results(state / FOLDER / NAME, scan.remember)
        self.clamd = None if scan.clamd is None else Clamd(scan.clamd, on_change=on_clamd)
        self._inspector = ArchiveInspector(archives)
        self._archives = archives.enabled
        self._settings = scan
        self._rules = RulesInForce(state)

    async def aclose(self) -> None:
        """End what runs for it."""
        await self._inspector.aclose()
        if self.clamd is not None:
            await self.clamd.aclose()
        await self.results.aclose()

    @property
    def wanted(self) -> Sequence[str]:
        """Names of the engines that somebody has set."""
        yara = (YARA,) if self._settings.yara.rules else ()
        return yara if self.clamd is None else (*yara, CLAMD)

    async def versions(self) -> Mapping[str, str]:
        """Return what looks now, by engine; an engine that is away is missing."""
        found = {}
        look = rule_look(self._settings, self._rules)
        if not isinstance(look, str):
            found[YARA] = look.rules.version
        if self.clamd is not None and self.clamd.trouble is None:
            with suppress(ClamdError):
                await self.clamd.ask_version()
                found[CLAMD] = self.clamd.version or ""
        return found

    async def recall(self, digest: bytes) -> Mapping[str, EngineReport]:
        """Return what engines last found in a file, by engine."""
        return await self.results.last(digest)

    async def scan(self, file: IO[bytes], digest: bytes) -> Sequence[EngineReport]:
        """Have all engines look into a file, if they have not yet."""
        reports, _ = await self.look_into(file, digest)
        return reports

    async def look_into(self, file: IO[bytes], digest: bytes) -> tuple[list[EngineReport], Inside]:
        """As `scan`; return too what lies inside an archive."""
        source = OpenFile(file)
        yara = self._yara(source, digest)
        if self.clamd is None:
            report, inside = await yara
            return [self._as_wanted(report)], inside
        (report, inside), of_clamd = await asyncio.gather(yara, self._ask_clamd(self.clamd, file, digest))
        return [self._as_wanted(report), of_clamd], inside

    def _as_wanted(self, report: EngineReport) -> EngineReport:
        """Leave nothing open that only an engine did not see of which no answer is wanted."""
        if report.fault is None or report.engine in self.wanted:
            return report
        return replace(report, fault=None, skipped=report.fault)

    async def _yara(self, source: OpenFile, digest: bytes) -> tuple[EngineReport, Inside]:
        look = rule_look(self._settings, self._rules)
        inside = await self._inspector.inspect(
            source,
            digest=digest,
            archive=None if self._archives else False,
            look=None if isinstance(look, str) else look,
        )
        if isinstance(look, str):
            return EngineReport(YARA, fault=look), inside
        assert inside.yara is not None
        self.results.keep(digest, "", inside.yara)
        return inside.yara, inside

    async def _ask_clamd(self, clamd: Clamd, file: IO[bytes], digest: bytes) -> EngineReport:
        if (known := await clamd.found_before(self.results, digest)) is not None:
            return known
        try:
            async with aclosing(_pieces(file)) as pieces:
                report = await clamd.scan(pieces)
        except OSError as error:
            return EngineReport(CLAMD, fault=f"the file cannot be read: {error.strerror or error}")
        self.results.keep(digest, "", report)
        return report


async def _pieces(file: IO[bytes]) -> AsyncGenerator[bytes]:
    at = 0
    while piece := await FILES.run(os.pread, file.fileno(), _PIECE_BYTES, at):
        yield piece
        at += len(piece)
