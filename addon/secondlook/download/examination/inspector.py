"""Looking into files, archives above all: child processes, each asked about one file at a time.

A child that is silent for longer than a file may take, or dies, is replaced; the file that did it is
reported as one that cannot be read. What was found is remembered by the digest of the file, and who asks
for one that is being looked into waits for that. Thousands of rules take a child seconds to load: that is no
time of the file's, and goes on for the next one when whoever wanted it is gone.
"""

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any, Protocol

from lru import LRU

from secondlook.config import ArchiveSettings, ScanSettings
from secondlook.core.scan import YARA, Detection, EngineReport
from secondlook.core.verdict import Risk, Threat
from secondlook.download.archives.archive import ArchiveLimits
from secondlook.download.examination.turns import Turns
from secondlook.download.gate.spool import SpoolFullError
from secondlook.scan.rule_set import RuleSet, RulesInForce, own_rules

logger = logging.getLogger(__name__)

GRACE_S = 2.0  # beyond the time an archive may take: starting the child, and its own clock's coarseness
LOAD_S = 120.0  # that loading rules may take
READERS = 2
_ANSWER_BYTES = 64 << 10
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
        detections = tuple(
            Detection(**{**each, "risk": Risk(each["risk"]), "threat": Threat(each["threat"])})
            for each in answer["detections"]
        )
        return EngineReport(
            YARA,
            self.rules.version,
            detections,
            fault=answer["fault"],
            elapsed_ms=answer["spent_s"] * 1000.0,
            signatures_at=self.rules.compiled_at,
        )

    def failed(self, fault: str) -> EngineReport:
        """Return that nobody has looked."""
        return EngineReport(YARA, self.rules.version, fault=fault)


def rule_look(settings: ScanSettings, rules: RulesInForce) -> RuleLook | str:
    """Return the rules in force and their bounds, or why there are none."""
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
        ...

    async def file(self) -> IO[bytes]:
        """Return it as a file. Raises SpoolFullError or OSError."""
        ...


class ArchiveInspector:
    """Asks child processes what lies inside files."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._limits = ArchiveLimits(settings.depth, settings.members, settings.max_bytes, settings.time)
        self.time_s = settings.time
        self._idle = [_Reader() for _ in range(READERS)]
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
            reader = self._idle.pop()
            try:
                if job.look is not None:
                    slow = f": loading the rules takes longer than {LOAD_S:g} s"
                    await reader.prepare(job.look.path)
                slow = f": longer than {time_s:g} s"
                file = await spool.file()
                async with asyncio.timeout(time_s + GRACE_S):
                    answer = await reader.ask(file.fileno(), self._limits, job)
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
                self._idle.append(reader)
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

    def failed(self, why: str) -> Inside:
        """Return that nobody has looked; `why` goes on after the word archive."""
        problem = f"archive{why}" if self.archive else None
        return Inside((), problem, None if self.look is None else self.look.failed(why.lstrip(": ")))


class _Reader:
    """One child process, started when it is needed; `busy`: it has a file and has not answered yet."""

    def __init__(self) -> None:
        self.busy = False
        self._child: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._prepared: tuple[str | None] | None = None  # the rules that it has loaded
        self._preparing: asyncio.Task[None] | None = None

    async def prepare(self, rules: str | None) -> None:
        """Have rules loaded, if it has others. Raises TimeoutError, or whatever breaks the child."""
        while not self._alive or self._prepared != (rules,):
            if self._preparing is None or self._preparing.done():
                self._preparing = asyncio.ensure_future(self._load(rules))
            await asyncio.shield(self._preparing)

    async def _load(self, rules: str | None) -> None:
        if not self._alive:
            await self._begin()
        assert self._channel is not None
        self._prepared = None
        async with asyncio.timeout(LOAD_S):
            await asyncio.get_running_loop().sock_sendall(
                self._channel, json.dumps({"load": rules}).encode() + b"\n"
            )
            await self._answer(self._channel)  # what is wrong with them is told with the file
        self._prepared = (rules,)

    async def ask(self, descriptor: int, limits: ArchiveLimits, job: "_Job") -> Any:
        """Have a file looked into."""
        if not self._alive:
            await self._begin()
        assert self._channel is not None
        asked = {
            "limits": asdict(limits),
            "encodings": job.encodings,
            "archive": job.archive,
            "rules": None if job.look is None else job.look.to_json(),
        }
        request = json.dumps(asked).encode() + b"\n"
        self.busy = True
        socket.send_fds(self._channel, [request], [descriptor])
        answer = await self._answer(self._channel)
        self.busy = False
        return answer

    @staticmethod
    async def _answer(channel: socket.socket) -> Any:
        loop = asyncio.get_running_loop()
        answer = bytearray()
        while not answer.endswith(b"\n"):
            piece = await loop.sock_recv(channel, _ANSWER_BYTES)
            if not piece:
                raise ConnectionError("the reader ended")
            answer += piece
        return json.loads(answer)

    @property
    def _alive(self) -> bool:
        return self._child is not None and self._child.returncode is None

    async def end(self) -> None:
        """End the child."""
        self.busy = False
        self._prepared = None
        if self._preparing is not None and self._preparing is not asyncio.current_task():
            self._preparing.cancel()
            await asyncio.wait((self._preparing,))
            self._preparing = None
        channel, self._channel = self._channel, None
        child, self._child = self._child, None
        if channel is not None:
            channel.close()
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()

    async def _begin(self) -> None:
        await self.end()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "secondlook.download.archives.archive_child",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = ours
