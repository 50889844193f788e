"""The check of a file on this machine: by its digests, those of what lies in it, and by the engines."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from secondlook.agent.check.content import ContentCheck, is_settled
from secondlook.agent.check.evidence import unverifiable
from secondlook.core.scan import EngineReport
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Decision
from secondlook.download.examination.file_scanner import FileScanner
from secondlook.ground.lanes import FILES
from secondlook.run.assembly.answers.explaining import context_of, subject_of_file
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.assembly.check.scanning import make_scanner


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """What is decided about a file as a client would get it."""

    subject: FileSubject
    context: RequestContext
    decision: Decision


class Heard:
    """What engines have reported already (`agent.ports.Scan`)."""

    within_s = 60.0

    def __init__(self, reports: Sequence[EngineReport]) -> None:
        self._reports = reports
        self.engines = [report.engine for report in reports]

    def known(self) -> Sequence[EngineReport] | None:
        """Return it."""
        return self._reports

    def looks(self) -> Sequence[Coroutine[Any, Any, EngineReport]]:
        """Return it, one after the other."""
        return [_given(report) for report in self._reports]


async def _given(report: EngineReport) -> EngineReport:
    return report


class FileCheck:
    """Checks one file after the other; nothing is recorded."""

    def __init__(self, parts: Parts, scanner: FileScanner) -> None:
        self._checker = parts.checker
        self._content = ContentCheck(parts.checker, parts.clock)
        self._scanner = scanner

    @classmethod
    def of(cls, parts: Parts) -> Self:
        """Make one with a scanner of its own; `aclose` ends that."""
        return cls(parts, make_scanner(parts))

    async def aclose(self) -> None:
        """End what runs for it."""
        await self._scanner.aclose()

    async def check(self, path: Path, client: str | None) -> CheckedFile:
        """Check a file as a client would get it. Raises OSError where it cannot be read."""
        subject = await FILES.run(subject_of_file, path)
        context = context_of(subject, str(path), client)
        decision = self._checker.check_now(subject, context)
        if decision is not None and is_settled(decision):
            return CheckedFile(subject, context, decision)
        with path.open("rb") as file:
            reports, inside = await self._scanner.look_into(file, subject.identity)
        subject = replace(
            subject,
            hashes=(*subject.hashes, *(digest for _, digest in inside.members)),
            labels=(*subject.labels, *(label for label, _ in inside.members)),
        )
        decision = await self._content.check(subject, context, Heard(reports))
        open_still = decision.action is Action.ALLOW and not decision.would_block
        if inside.problem is not None and open_still and not decision.evidence.allowed_by_rule:
            evidence = replace(unverifiable(inside.problem, ()), steps=decision.evidence.steps)
            decision = self._checker.judge(context, evidence)
        return CheckedFile(subject, context, decision)
