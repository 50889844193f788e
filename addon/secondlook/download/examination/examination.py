"""What is asked about a risky file besides its digests: what lies in it, and what the engines find in it.

```
as it streams ───────────────────────────────────────────┬─► clamd, its end with the verdict
archive ─► child: members, YARA ─┐                       ├─► clamd, from the spool
                                 ├─► subject with them ──┼─► YARA (of what came with the archive, else now)
other ───────────────────────────┘                       └─► servers
```

Every front has its files examined here: it hands in a gate whose body is whole, and gives what comes of it to
the gatekeeper. Rules that are only our own are a courtesy: what they cannot look at they leave out.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from secondlook.agent.ports import Scan
from secondlook.config.scan import ScanSettings
from secondlook.config.traffic import ArchiveSettings
from secondlook.core.scan import CLAMD, YARA, EngineReport, worst
from secondlook.core.subject import FileSubject
from secondlook.core.verdict import Risk
from secondlook.download.body.decoding import Decoder, DecodeState
from secondlook.download.examination.inspector import GRACE_S, ArchiveInspector, Inside
from secondlook.download.examination.ready_rules import ReadyRules
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.gate_state import Tap
from secondlook.download.gate.spool import Spool, SpoolFullError
from secondlook.ground.turns import Turns
from secondlook.scan.clamd import Clamd, ClamdStream
from secondlook.scan.results import NAME, Results
from secondlook.scan.rule_set import FOLDER

_NO_COPY = "there is no copy of it"
_WAIT_S = 30.0  # for a turn at an engine
_DECODE_BYTES = 128 << 10


@dataclass(frozen=True, slots=True)
class Examined:
    """A file as it is asked about; `problem` is why it could not be looked through."""

    subject: FileSubject
    scan: Scan | None
    problem: str | None = None
    members: tuple[tuple[str, bytes], ...] = ()


class Examiner:
    """Examines the files of one process.

    `on_clamd` is called when clamd went away (with the reason), or answers again (None).
    """

    def __init__(
        self,
        archives: ArchiveSettings,
        scan: ScanSettings,
        state: Path,
        *,
        on_clamd: Callable[[str | None], None] = lambda _: None,
        decoded_ratio: int = 1000,
    ) -> None:
        self.looks_into_archives = archives.enabled
        self.inspector = ArchiveInspector(archives)
        self.results = Results(state / FOLDER / NAME, scan.remember)
        self.clamd = None if scan.clamd is None else Clamd(scan.clamd, on_change=on_clamd)
        self.engines = (YARA,) if self.clamd is None else (YARA, CLAMD)
        self._settings = scan
        self._rules = ReadyRules(scan, state, self.inspector)
        self._courtesy = not scan.yara.rules
        self._turns = Turns(1 if scan.clamd is None else scan.clamd.at_once)
        self._ratio = decoded_ratio
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decoding for clamd")

    async def aclose(self) -> None:
        """End the processes that look into files, and what is asked of others."""
        await self._rules.aclose()
        await self.inspector.aclose()
        if self.clamd is not None:
            await self.clamd.aclose()
        self._thread.shutdown(wait=False, cancel_futures=True)
        await self.results.aclose()

    @property
    def copy_up_to(self) -> int:
        """How large a file that streams may be to be copied for the rules."""
        return 0 if self._courtesy else self._settings.yara.max_bytes

    @property
    def copy_encoded_up_to(self) -> int:
        """The same for one with a Content-Encoding: clamd is given what it decodes to, at its end."""
        clamd = self._settings.clamd
        return max(self.copy_up_to, 0 if clamd is None else clamd.max_bytes)

    def tap(self) -> Tap | None:
        """Begin to give a body to clamd as it comes; None where that would be of no use."""
        stream = None if self.clamd is None else self.clamd.begin()
        return stream if isinstance(stream, ClamdStream) else None

    def is_archive(self, gate: BodyGate) -> bool:
        """Return whether a body must be looked into for its members, before anything is asked."""
        return self.looks_into_archives and gate.is_archive

    async def examine(self, gate: BodyGate, client: str | None) -> Examined:
        """Look into an archive, and prepare what the engines are to see of any file."""
        if not self.is_archive(gate):
            return Examined(gate.look.subject(), self.scan(gate, client), gate.problem)
        look = self._rules.look()
        if gate.uncopied is not None or gate.spool is None:
            inside = Inside(problem=f"archive: {gate.uncopied or _NO_COPY}")
        else:
            inside = await self.inspector.inspect(
                gate.spool,
                gate.look.encodings,
                digest=gate.look.subject().identity,
                client=client,
                look=None if isinstance(look, str) else look,
            )
        scan = self.scan(gate, client, inside)
        return Examined(
            gate.look.subject(inside.members), scan, inside.problem or gate.problem, inside.members
        )

    def scan(self, gate: BodyGate, client: str | None, inside: Inside | None = None) -> Scan:
        """Prepare a file for the engines; `inside` is what was found already."""
        return _Scan(self, gate, client, inside)

    def known(self, gate: BodyGate) -> list[EngineReport] | None:
        """Return what all engines found in the same file before, as far as it is in memory."""
        digest, form = gate.look.subject().identity, _form(gate)
        yara = self._known_to_rules(gate, digest, form)
        if yara is None:
            return None
        if self.clamd is None:
            return [yara]
        version = self.clamd.version
        clamd = None if version is None else self.results.recall(digest, form, CLAMD, version)
        return None if clamd is None else [yara, clamd]

    def _known_to_rules(self, gate: BodyGate, digest: bytes, form: str) -> EngineReport | None:
        look = self._rules.look()
        if isinstance(look, str):
            return self._as_courtesy(EngineReport(YARA, fault=look)) if self._courtesy else None
        found = self.results.recall(digest, form, YARA, look.rules.version)
        if found is None and self._courtesy and (gate.spool is None or gate.uncopied is not None):
            return self._as_courtesy(look.failed(gate.uncopied or _NO_COPY))
        return found

    async def yara(self, gate: BodyGate, client: str | None, inside: Inside | None) -> EngineReport:
        """Have the rules look at a whole file, if they have not yet."""
        look = self._rules.look()
        if isinstance(look, str):
            return self._as_courtesy(EngineReport(YARA, fault=look))
        digest, form = gate.look.subject().identity, _form(gate)
        if inside is not None and inside.yara is not None:
            report = inside.yara
        elif (known := await self.results.find(digest, form, YARA, look.rules.version)) is not None:
            return known
        elif gate.spool is None or gate.uncopied is not None:
            report = look.failed(gate.uncopied or _NO_COPY)
        else:
            found = await self.inspector.inspect(
                gate.spool, gate.look.encodings, digest=digest, client=client, archive=False, look=look
            )
            assert found.yara is not None
            report = found.yara
        self.results.keep(digest, form, report)
        return self._as_courtesy(report)

    async def ask_clamd(self, clamd: Clamd, gate: BodyGate, client: str | None) -> EngineReport:
        """Have clamd look at a whole file, and at what it decodes to, if it has not yet."""
        digest, form = gate.look.subject().identity, _form(gate)
        if (known := await clamd.found_before(self.results, digest, form)) is not None:
            return known
        report = await self._ask_clamd(clamd, gate, client)
        self.results.keep(digest, form, report)
        return report

    async def _ask_clamd(self, clamd: Clamd, gate: BodyGate, client: str | None) -> EngineReport:
        spool = None if gate.uncopied is not None else gate.spool
        report = None
        if isinstance(gate.tap, ClamdStream):
            report = await gate.tap.end()
        if report is None or (report.fault is not None and spool is not None):
            report = await self._from_spool(clamd, gate, spool, client, ())
        if gate.look.encodings and report.fault is None and not _is_dangerous(report):
            decoded = await self._from_spool(clamd, gate, spool, client, gate.look.encodings)
            found = tuple(dict.fromkeys((*report.detections, *decoded.detections)))
            took_ms = (report.elapsed_ms or 0.0) + (decoded.elapsed_ms or 0.0)
            report = replace(decoded, detections=found, elapsed_ms=took_ms)
        return report

    async def _from_spool(
        self,
        clamd: Clamd,
        gate: BodyGate,
        spool: Spool | None,
        client: str | None,
        encodings: tuple[str, ...],
    ) -> EngineReport:
        if spool is None:
            return EngineReport(CLAMD, fault=gate.uncopied or _NO_COPY)
        pieces = self._decoded(spool, encodings) if encodings else spool.pieces()
        try:
            async with self._turns.turn(client, spool.size), aclosing(pieces):
                return await clamd.scan(pieces)
        except (OSError, SpoolFullError, EOFError) as error:
            return EngineReport(CLAMD, fault=str(error))

    async def _decoded(self, spool: Spool, encodings: tuple[str, ...]) -> AsyncGenerator[bytes]:
        """Return what a body decodes to. Raises EOFError where that ends before the body does."""
        decoder = Decoder(encodings, ratio=self._ratio)
        run = partial(asyncio.get_running_loop().run_in_executor, self._thread)
        async with aclosing(spool.pieces()) as pieces:
            async for piece in pieces:
                for at in range(0, len(piece), _DECODE_BYTES):
                    yield await run(_joined, decoder.feed, piece[at : at + _DECODE_BYTES])
                    while decoder.behind and decoder.state is DecodeState.WORKING:
                        yield await run(_joined, decoder.work)
        yield await run(_joined, decoder.finish)
        if decoder.state is not DecodeState.DONE:
            raise EOFError(f"its content encoding is {decoder.state.value}")

    def _as_courtesy(self, report: EngineReport) -> EngineReport:
        """Leave nothing open that only our own rules did not see."""
        if not self._courtesy or report.fault is None:
            return report
        return replace(report, fault=None, skipped=report.fault)

    @property
    def within_s(self) -> float:
        """Seconds within which every engine has spoken."""
        yara_s = self._settings.yara.timeout + self.inspector.time_s + GRACE_S
        clamd = self._settings.clamd
        return _WAIT_S + max(yara_s, 0.0 if clamd is None else 4 * clamd.timeout)


def _joined[**P](decode: Callable[P, Iterator[bytes]], *given: P.args, **named: P.kwargs) -> bytes:
    return b"".join(decode(*given, **named))


def _is_dangerous(report: EngineReport) -> bool:
    """Return whether nothing worse could be found in another form of the same file."""
    found = worst([report])
    return found is not None and found[0].risk is Risk.DANGEROUS


def _form(gate: BodyGate) -> str:
    return "+".join(gate.look.encodings)


class _Scan:
    """One file on its way to the engines."""

    def __init__(self, examiner: Examiner, gate: BodyGate, client: str | None, inside: Inside | None) -> None:
        self.engines: Sequence[str] = examiner.engines
        self.within_s = examiner.within_s
        self._examiner = examiner
        self._gate = gate
        self._client = client
        self._inside = inside

    def known(self) -> Sequence[EngineReport] | None:
        return self._examiner.known(self._gate)

    def looks(self) -> Sequence[Coroutine[Any, Any, EngineReport]]:
        yara = self._examiner.yara(self._gate, self._client, self._inside)
        clamd = self._examiner.clamd
        if clamd is None:
            return (yara,)
        return yara, self._examiner.ask_clamd(clamd, self._gate, self._client)
