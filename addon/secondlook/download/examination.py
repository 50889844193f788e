"""What is asked about a risky file besides its digests: what lies in it, and what the engines say of it.

```
archive ─► child: members, YARA ─┐                       ┌─► YARA (of what came with the archive, else now)
                                 ├─► subject with them ──┼─► clamd
other ───────────────────────────┘                       └─► servers
```

Every front has its files examined here: it hands in a gate whose body is whole, and gives what comes of it to
the gatekeeper. Rules that are only our own are a courtesy: what they cannot look at they leave out.
"""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secondlook.agent.ports import Scan
from secondlook.config import ArchiveSettings, ScanSettings
from secondlook.core.scan import YARA, EngineReport
from secondlook.core.subject import FileSubject
from secondlook.download.gate import BodyGate
from secondlook.download.inspector import GRACE_S, ArchiveInspector, Inside, RuleLook
from secondlook.scan.results import NAME, Results
from secondlook.scan.rule_set import FOLDER, RulesInForce, own_rules

_NO_COPY = "there is no copy of it"
_WAIT_S = 30.0  # for a turn at an engine


@dataclass(frozen=True, slots=True)
class Examined:
    """A file as it is asked about; `problem` is why it could not be looked through."""

    subject: FileSubject
    scan: Scan | None
    problem: str | None = None
    members: tuple[tuple[str, bytes], ...] = ()


class Examiner:
    """Examines the files of one process."""

    def __init__(self, archives: ArchiveSettings, scan: ScanSettings, state: Path) -> None:
        self.looks_into_archives = archives.enabled
        self.inspector = ArchiveInspector(archives)
        self.results = Results(state / FOLDER / NAME, scan.remember)
        self._settings = scan
        self._rules = RulesInForce(state)
        self._courtesy = not scan.yara.rules

    async def aclose(self) -> None:
        """End the processes that look into files."""
        await self.inspector.aclose()
        await self.results.aclose()

    @property
    def copy_up_to(self) -> int:
        """How large a file that streams may be to be copied for the rules."""
        return 0 if self._courtesy else self._settings.yara.max_bytes

    def is_archive(self, gate: BodyGate) -> bool:
        """Whether a body must be looked into for its members, before anything is asked."""
        return self.looks_into_archives and gate.is_archive

    async def examine(self, gate: BodyGate, client: str | None) -> Examined:
        """Look into an archive, and prepare what the engines are to see of any file."""
        if not self.is_archive(gate):
            return Examined(gate.subject(), self.scan(gate, client), gate.problem)
        look = self._look()
        if gate.uncopied is not None or gate.spool is None:
            inside = Inside(problem=f"archive: {gate.uncopied or _NO_COPY}")
        else:
            inside = await self.inspector.inspect(
                gate.spool,
                gate.encodings,
                digest=gate.subject().identity,
                client=client,
                look=None if isinstance(look, str) else look,
            )
        scan = self.scan(gate, client, inside)
        return Examined(gate.subject(inside.members), scan, inside.problem or gate.problem, inside.members)

    def scan(self, gate: BodyGate, client: str | None, inside: Inside | None = None) -> Scan:
        """Prepare a file for the engines; `inside` is what was found already."""
        return _Scan(self, gate, client, inside)

    def _look(self) -> RuleLook | str:
        """Return the rules in force, or why there are none."""
        yara = self._settings.yara
        rules = self._rules.current
        if rules is None:
            if not self._courtesy:
                return "its rules are not compiled"
            rules = own_rules()
        return RuleLook(rules, yara.timeout, yara.max_bytes)

    def _as_courtesy(self, report: EngineReport) -> EngineReport:
        """Leave nothing open that only our own rules did not see."""
        if not self._courtesy or report.fault is None:
            return report
        return replace(report, fault=None, skipped=report.fault)

    def yara_known(self, gate: BodyGate) -> EngineReport | None:
        """Return what the rules in force said about the same file before, as far as it is in memory."""
        look = self._look()
        if isinstance(look, str):
            return None
        return self.results.recall(gate.subject().identity, _form(gate), YARA, look.rules.version)

    async def yara(self, gate: BodyGate, client: str | None, inside: Inside | None) -> EngineReport:
        """Have the rules look at a whole file, if they have not yet."""
        look = self._look()
        if isinstance(look, str):
            return EngineReport(YARA, fault=look)
        digest, form = gate.subject().identity, _form(gate)
        if inside is not None and inside.yara is not None:
            report = inside.yara
        elif (known := await self.results.find(digest, form, YARA, look.rules.version)) is not None:
            return known
        elif gate.spool is None or gate.uncopied is not None:
            report = look.failed(gate.uncopied or _NO_COPY)
        else:
            found = await self.inspector.inspect(
                gate.spool, gate.encodings, digest=digest, client=client, archive=False, look=look
            )
            assert found.yara is not None
            report = found.yara
        self.results.keep(digest, form, report)
        return self._as_courtesy(report)

    @property
    def within_s(self) -> float:
        """Seconds within which every engine has spoken."""
        return self._settings.yara.timeout + self.inspector.time_s + GRACE_S + _WAIT_S


def _form(gate: BodyGate) -> str:
    return "+".join(gate.encodings)


class _Scan:
    """One file on its way to the engines."""

    engines: Sequence[str] = (YARA,)

    def __init__(self, examiner: Examiner, gate: BodyGate, client: str | None, inside: Inside | None) -> None:
        self._examiner = examiner
        self._gate = gate
        self._client = client
        self._inside = inside

    @property
    def within_s(self) -> float:
        return self._examiner.within_s

    def known(self) -> Sequence[EngineReport] | None:
        report = self._examiner.yara_known(self._gate)
        return None if report is None else (report,)

    def looks(self) -> Sequence[Coroutine[Any, Any, EngineReport]]:
        return (self._examiner.yara(self._gate, self._client, self._inside),)
