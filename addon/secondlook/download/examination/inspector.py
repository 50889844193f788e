"""Looking into files, archives above all: child processes, each asked about one file at a time.

A child that is silent for longer than a file may take, or dies, is replaced; the file that did it is
reported as one that cannot be read. What was found is remembered by the digest of the file, and who asks
for one that is being looked into waits for that. Thousands of rules take a child seconds to load: that is no
time of the file's, and goes on for the next one when whoever wanted it is gone.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, Protocol

from lru import LRU

from secondlook.config.scan import ScanSettings
from secondlook.config.traffic import ArchiveSettings
from secondlook.core.scan import YARA, Detection, EngineReport
from secondlook.download.archives.archive import ArchiveLimits
from secondlook.download.examination import reader as reading
from secondlook.download.examination.reader import Reader
from secondlook.download.gate.spool import SpoolFullError
from secondlook.ground.turns import Turns
from secondlook.scan.rule_set import RuleSet, RulesInForce, engine_version, own_rules

logger = logging.getLogger(__name__)

GRACE_S = 2.0  # beyond the time an archive may take: starting the child, and its own clock's coarseness
READERS = 2
_OURSELVES = ""  # as nobody's address
_REMEMBERED = 512  # archives
_REMEMBERED_MEMBERS = 1000  # an archive of more is looked into again
_AGAIN_S = 60.0  # what took too long or broke its reader may go well when the machine is less busy

type _Key = tuple[bytes, tuple[str, ...], bool | None, str | None]


@dataclass(frozen=True, slots=True)
class Inside:
    """What was found inside a file: labelled digests of its members, and why it was not looked through.

    `yara` is what the rules found in the file and in all that lies in it.
    """

    members: tuple[tuple[str, bytes], ...] = ()
    problem: str | None = None
    yara: EngineReport | None = None


@dataclass(frozen=True, slots=True)
class RuleLook:
    """The YARA rules that are to look at a file, and how long; those named `version`."""

    rules: RuleSet
    time_s: float
    max_bytes: int

    @property
    def path(self) -> str | None:
        """Where the compiled rules are; None: our own."""
        return None if self.rules.path is None else str(self.rules.path)

    def to_json(self) -> dict[str, object]:
        """Return what is sent to the child."""
        return {"rules": self.path, "time_s": self.time_s, "max_bytes": self.max_bytes}

    def report(self, answer: Mapping[str, Any]) -> EngineReport:
        """Return what the child found."""
        return EngineReport(
            YARA,
            self.rules.version,
            tuple(map(Detection.from_json, answer["detections"])),
            fault=answer["fault"],
            elapsed_ms=answer["spent_s"] * 1000.0,
            signatures_at=self.rules.compiled_at,
        )

    def failed(self, fault: str) -> EngineReport:
        """Return that nobody has looked."""
        return EngineReport(YARA, self.rules.version, fault=fault)


def rule_look(settings: ScanSettings, rules: RulesInForce) -> RuleLook | str:
    """Return the rules in force and their bounds, or why there are none."""
    if not engine_version():
        return "the extra `yara` is not installed"
    current = rules.current
    if current is None:
        if settings.yara.rules:
            return "its rules are not compiled"
        current = own_rules()
    return RuleLook(current, settings.yara.timeout, settings.yara.max_bytes)


class Source(Protocol):
    """What is looked into: a spool, or a file that lies somewhere."""

    @property
    def size(self) -> int:
        """Bytes."""

    async def file(self) -> IO[bytes]:
        """Return it as a file. Raises SpoolFullError or OSError."""


class ArchiveInspector:
    """Asks child processes what lies inside files."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._limits = ArchiveLimits(settings.depth, settings.members, settings.max_bytes, settings.time)
        self.time_s = settings.time
        self._readers = [Reader() for _ in range(READERS)]
        self._idle = [*self._readers]
        self._given_back = asyncio.Event()
        self._replaced: tuple[str, RuleLook] | None = None  # a version of rules, and what is in its place
        self._turns = Turns(READERS)
        self._known: LRU[_Key, tuple[Inside, float | None]] = LRU(_REMEMBERED)
        self._under_way: dict[_Key, asyncio.Future[None]] = {}

    async def inspect(
        self,
        spool: Source,
        encodings: tuple[str, ...] = (),
        *,
        digest: bytes | None = None,
        client: str | None = None,
        archive: bool | None = True,
        look: RuleLook | None = None,
    ) -> Inside:
        """Look inside; never raises. `digest` is that of the file, None to look afresh.

        A file that is no `archive` is only shown to the rules; None: that is not known.
        """
        job = _Job(encodings, archive, look)
        if digest is None:
            found, _ = await self._look(spool, job, client)
            return found
        key = (digest, encodings, archive, None if look is None else look.rules.version)
        while True:
            known = self._recall(key)
            if known is not None:
                return known
            if key not in self._under_way:
                break
            await asyncio.wait([self._under_way[key]])
        done = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            found, lasting = await self._look(spool, job, client)
            if len(found.members) <= _REMEMBERED_MEMBERS:
                until = None if lasting else asyncio.get_running_loop().time() + _AGAIN_S
                self._known[key] = (found, until)
        finally:
            del self._under_way[key]
            done.set_result(None)
        return found

    async def aclose(self) -> None:
        """End the children."""
        for reader in self._idle:
            await reader.end()

    @property
    def started(self) -> bool:
        """Return whether there is a child that has something loaded."""
        return any(reader.alive for reader in self._readers)

    async def renew(self, old: RuleLook, new: RuleLook, ready: Callable[[], None]) -> None:
        """Have the children load other rules, one after the other: others look into files meanwhile.

        `ready` is called once the first has them; files that waited with the old rules are shown to the new
        ones then. There are as many children after it as before.
        """
        async with self._turns.turn(_OURSELVES, 0):
            first = min(self._idle, key=lambda reader: reader.has(old.path))
            more = not first.alive
            await self._have_loaded(first, new.path)
            self._replaced = (old.rules.version, new)
            ready()
            for reader in self._readers:
                if reader is first or not reader.alive:
                    continue
                while reader not in self._idle:
                    self._given_back.clear()
                    await self._given_back.wait()
                if more:
                    await reader.end()
                else:
                    await self._have_loaded(reader, new.path)

    async def _have_loaded(self, reader: Reader, rules: str | None) -> None:
        self._idle.remove(reader)
        try:
            await reader.prepare(rules)
        except Exception as error:  # noqa: BLE001 - it is tried again with the next file, and reported with that
            logger.warning("rules could not be loaded: %r", error)
            await reader.end()
        finally:
            self._give_back(reader)

    def _take(self, look: RuleLook | None) -> Reader:
        """Take a child that is idle, one that has the rules of a file where there is one."""
        loaded = [reader for reader in self._idle if look is not None and reader.has(look.path)]
        reader = loaded[-1] if loaded else self._idle[-1]
        self._idle.remove(reader)
        return reader

    def _give_back(self, reader: Reader) -> None:
        self._idle.append(reader)
        self._given_back.set()

    def _recall(self, key: _Key) -> Inside | None:
        inside, until = self._known.get(key) or (None, None)
        if until is not None and asyncio.get_running_loop().time() > until:
            return None
        return inside

    async def _look(self, spool: Source, job: "_Job", client: str | None) -> tuple[Inside, bool]:
        """Look inside; return too whether it would always be so."""
        time_s = self._limits.time_s + (0.0 if job.look is None else job.look.time_s)
        slow = ""
        async with self._turns.turn(client, spool.size):
            if self._replaced is not None and job.look is not None:
                version, look = self._replaced
                if job.look.rules.version == version and any(each.has(look.path) for each in self._idle):
                    job = replace(job, look=look)  # they were replaced while it waited
            reader = self._take(job.look)
            try:
                if job.look is not None:
                    slow = f": loading the rules takes longer than {reading.LOAD_S:g} s"
                    await reader.prepare(job.look.path)
                slow = f": longer than {time_s:g} s"
                file = await spool.file()
                async with asyncio.timeout(time_s + GRACE_S):
                    answer = await reader.ask(file.fileno(), job.to_json(self._limits))
                if answer["spent"]:
                    await reader.end()
            except TimeoutError:
                await reader.end()
                return job.failed(slow), False
            except SpoolFullError as error:
                return job.failed(f": {error}"), False
            except Exception as error:  # noqa: BLE001 - whatever it is, the file was not looked into
                logger.warning("a file could not be looked into: %r", error)
                await reader.end()
                return job.failed(f" cannot be read: {type(error).__name__}"), False
            except asyncio.CancelledError:
                if reader.busy:
                    await reader.end()  # it would answer the next with this one's members
                raise
            finally:
                self._give_back(reader)
        members = tuple((f"member:{label}", bytes.fromhex(digest)) for label, digest in answer["members"])
        problem = answer["problem"] if job.archive is not False else None
        lasting = problem != f"archive: longer than {self._limits.time_s:g} s"
        yara = None if job.look is None else job.look.report(answer)
        return Inside(members, problem, yara), lasting and (yara is None or yara.lasting)


@dataclass(frozen=True, slots=True)
class _Job:
    """How a file is looked into."""

    encodings: tuple[str, ...]
    archive: bool | None
    look: RuleLook | None

    def to_json(self, limits: ArchiveLimits) -> dict[str, object]:
        """Return what is sent to the child."""
        return {
            "limits": asdict(limits),
            "encodings": self.encodings,
            "archive": self.archive,
            "rules": None if self.look is None else self.look.to_json(),
        }

    def failed(self, why: str) -> Inside:
        """Return that nobody has looked; `why` goes on after the word archive."""
        problem = f"archive{why}" if self.archive else None
        return Inside((), problem, None if self.look is None else self.look.failed(why.lstrip(": ")))
