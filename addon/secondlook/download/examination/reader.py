"""One child process that looks into files (`archives/archive_child.py`): started, asked, and ended."""

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any

from secondlook.ground.children import end_child, start_child
from secondlook.ground.json_text import read_json

LOAD_S = 120.0  # that loading rules may take
_ANSWER_BYTES = 64 << 10


class Reader:
    """One child process, started when it is needed; `busy`: it has a file and has not answered yet."""

    def __init__(self) -> None:
        self.busy = False
        self._child: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._prepared: tuple[str | None] | None = None  # the rules that it has loaded
        self._preparing: asyncio.Task[None] | None = None

    def has(self, rules: str | None) -> bool:
        """Return whether it has loaded these rules."""
        return self.alive and self._prepared == (rules,)

    async def prepare(self, rules: str | None) -> None:
        """Have rules loaded, if it has others. Raises TimeoutError, or whatever breaks the child."""
        while not self.has(rules):
            if self._preparing is None or self._preparing.done():
                self._preparing = asyncio.ensure_future(self._load(rules))
            await asyncio.shield(self._preparing)

    async def _load(self, rules: str | None) -> None:
        if not self.alive:
            await self._begin()
        assert self._channel is not None
        self._prepared = None
        async with asyncio.timeout(LOAD_S):
            await asyncio.get_running_loop().sock_sendall(
                self._channel, json.dumps({"load": rules}).encode() + b"\n"
            )
            await self._answer(self._channel)  # what is wrong with them is reported with the file
        self._prepared = (rules,)

    async def ask(self, descriptor: int, asked: Mapping[str, object]) -> Any:
        """Have a file looked into."""
        if not self.alive:
            await self._begin()
        assert self._channel is not None
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
        return read_json(answer)

    @property
    def alive(self) -> bool:
        """Return whether it runs."""
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
        if child is not None:
            await end_child(child)

    async def _begin(self) -> None:
        await self.end()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._child = await start_child(
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
