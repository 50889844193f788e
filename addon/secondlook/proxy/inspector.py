"""Looking into archives from the proxy's side: one child process, asked one archive at a time.

A child that is silent for longer than an archive may take, or dies, is replaced; the archive that did it is
reported as one that cannot be read.
"""

import asyncio
import json
import logging
import socket
import sys
from dataclasses import asdict
from typing import Any

from secondlook.config import ArchiveSettings
from secondlook.proxy.archive import ArchiveLimits
from secondlook.proxy.bodies import Inside
from secondlook.proxy.spool import Spool, SpoolFullError

logger = logging.getLogger(__name__)

GRACE_S = 2.0  # beyond the time an archive may take: starting the child, and its own clock's coarseness
_ANSWER_BYTES = 64 << 10


class ArchiveInspector:
    """Asks a child process what lies inside an archive."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._limits = ArchiveLimits(settings.depth, settings.members, settings.max_bytes, settings.time)
        self._child: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def inspect(self, spool: Spool, encodings: tuple[str, ...] = ()) -> Inside:
        """Look inside; never raises."""
        async with self._turn:
            try:
                file = await spool.file()
                async with asyncio.timeout(self._limits.time_s + GRACE_S):
                    answer = await self._ask(file.fileno(), encodings)
                if answer["spent"]:
                    await self._end()
            except TimeoutError:
                await self._end()
                return Inside(problem=f"archive: longer than {self._limits.time_s:g} s")
            except SpoolFullError as error:
                return Inside(problem=f"archive: {error}")
            except Exception as error:  # noqa: BLE001 - whatever it is, the archive was not looked into
                logger.warning("an archive could not be looked into: %r", error)
                await self._end()
                return Inside(problem=f"archive cannot be read: {type(error).__name__}")
        members = tuple((f"member:{label}", bytes.fromhex(digest)) for label, digest in answer["members"])
        return Inside(members, answer["problem"])

    async def aclose(self) -> None:
        """End the child."""
        await self._end()

    async def _ask(self, descriptor: int, encodings: tuple[str, ...]) -> Any:
        if self._child is None or self._child.returncode is not None:
            await self._begin()
        assert self._channel is not None
        asked = {"limits": asdict(self._limits), "encodings": encodings}
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

    async def _begin(self) -> None:
        await self._end()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "secondlook.proxy.archive_child",
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

    async def _end(self) -> None:
        channel, self._channel = self._channel, None
        child, self._child = self._child, None
        if channel is not None:
            channel.close()
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()
