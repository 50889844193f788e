"""Looking into archives: child processes, each asked one archive at a time.

A child that is silent for longer than an archive may take, or dies, is replaced; the archive that did it is
reported as one that cannot be read. What was found is remembered by the digest of the archive, and who asks
for one that is being looked into waits for that.
"""

import asyncio
import json
import logging
import socket
import sys
from dataclasses import asdict, dataclass
from typing import Any

from lru import LRU

from secondlook.config import ArchiveSettings
from secondlook.download.archive import ArchiveLimits
from secondlook.download.spool import Spool, SpoolFullError
from secondlook.download.turns import Turns

logger = logging.getLogger(__name__)

GRACE_S = 2.0  # beyond the time an archive may take: starting the child, and its own clock's coarseness
READERS = 2
_ANSWER_BYTES = 64 << 10
_REMEMBERED = 512  # archives
_REMEMBERED_MEMBERS = 1000  # an archive of more is looked into again
_AGAIN_S = 60.0  # what took too long or broke its reader may go well when the machine is less busy

type _Key = tuple[bytes, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Inside:
    """What was found inside an archive: labelled digests, and why it could not be looked through."""

    members: tuple[tuple[str, bytes], ...] = ()
    problem: str | None = None


class ArchiveInspector:
    """Asks child processes what lies inside archives."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._limits = ArchiveLimits(settings.depth, settings.members, settings.max_bytes, settings.time)
        self._idle = [_Reader() for _ in range(READERS)]
        self._turns = Turns(READERS)
        self._known: LRU[_Key, tuple[Inside, float | None]] = LRU(_REMEMBERED)
        self._under_way: dict[_Key, asyncio.Future[None]] = {}

    async def inspect(
        self,
        spool: Spool,
        encodings: tuple[str, ...] = (),
        *,
        digest: bytes | None = None,
        client: str | None = None,
    ) -> Inside:
        """Look inside; never raises. `digest` is that of the archive, None to look afresh."""
        if digest is None:
            found, _ = await self._look(spool, encodings, client)
            return found
        key = (digest, encodings)
        while True:
            known = self._recall(key)
            if known is not None:
                return known
            if key not in self._under_way:
                break
            await asyncio.wait([self._under_way[key]])
        done = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            found, lasting = await self._look(spool, encodings, client)
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

    async def _look(
        self, spool: Spool, encodings: tuple[str, ...], client: str | None
    ) -> tuple[Inside, bool]:
        """Look inside; tell too whether it would always be so."""
        slow = f"archive: longer than {self._limits.time_s:g} s"
        async with self._turns.turn(client, spool.size):
            reader = self._idle.pop()
            try:
                file = await spool.file()
                async with asyncio.timeout(self._limits.time_s + GRACE_S):
                    answer = await reader.ask(file.fileno(), self._limits, encodings)
                if answer["spent"]:
                    await reader.end()
            except TimeoutError:
                await reader.end()
                return Inside(problem=slow), False
            except SpoolFullError as error:
                return Inside(problem=f"archive: {error}"), False
            except Exception as error:  # noqa: BLE001 - whatever it is, the archive was not looked into
                logger.warning("an archive could not be looked into: %r", error)
                await reader.end()
                return Inside(problem=f"archive cannot be read: {type(error).__name__}"), False
            except asyncio.CancelledError:
                await reader.end()  # it would answer the next with this one's members
                raise
            finally:
                self._idle.append(reader)
        members = tuple((f"member:{label}", bytes.fromhex(digest)) for label, digest in answer["members"])
        return Inside(members, answer["problem"]), answer["problem"] != slow


class _Reader:
    """One child process, started when it is needed."""

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None

    async def ask(self, descriptor: int, limits: ArchiveLimits, encodings: tuple[str, ...]) -> Any:
        """Have an archive looked into."""
        if self._child is None or self._child.returncode is not None:
            await self._begin()
        assert self._channel is not None
        asked = {"limits": asdict(limits), "encodings": encodings}
        request = json.dumps(asked).encode() + b"\n"
        socket.send_fds(self._channel, [request], [descriptor])
        loop = asyncio.get_running_loop()
        answer = bytearray()
        while not answer.endswith(b"\n"):
            piece = await loop.sock_recv(self._channel, _ANSWER_BYTES)
            if not piece:
                raise ConnectionError("the archive reader ended")
            answer += piece
        return json.loads(answer)

    async def end(self) -> None:
        """End the child."""
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
                "secondlook.download.archive_child",
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
