"""Bodies that wait for their verdict: in memory at first, then in a file that has no name.

The file never has a name (or loses it at once), so it is gone with the process whatever happens. Writing goes
through a thread: the event loop never waits for a disk. What is not written yet counts as `backlog`; an
origin that is faster than the disk is paused by it. All spools of a process share one budget on disk.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

PIECE_BYTES = 128 << 10
BACKLOG_MAX_BYTES = 1 << 20


class SpoolFullError(Exception):
    """The disk budget of held bodies is used up."""


class SpoolRoom:
    """Where spools lie, how much they may take together, and the thread that reads and writes them."""

    def __init__(self, folder: Path, max_bytes: int, memory_bytes: int) -> None:
        self.folder = folder
        self.largest = max(max_bytes, memory_bytes)  # body that may have room at all
        self.memory_bytes = memory_bytes
        self._left_bytes = max_bytes
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    @property
    def left_bytes(self) -> int:
        """What is left of the budget."""
        return self._left_bytes

    def take(self, count: int) -> None:
        """Take some of the budget; raise SpoolFullError."""
        if count > self._left_bytes:
            raise SpoolFullError("no room left in the spool (downloads.spool_max)")
        self._left_bytes -= count

    def give_back(self, count: int) -> None:
        """Give some of the budget back."""
        self._left_bytes += count

    def open(self) -> IO[bytes]:
        """Open a file without a name."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self.folder, buffering=0)

    def close(self) -> None:
        """End the thread once it has done what waits."""
        self.thread.shutdown(wait=False)


class Spool:
    """One held body: bytes go in at the end, and are read once from the front.

    All of it stays until `close`, for `file` to be looked into. A disk that fails loses nothing: what it did
    not take stays in memory and is read from there; only more cannot be put.
    """

    def __init__(self, room: SpoolRoom) -> None:
        self._room = room
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flying: list[bytes] = []
        self._flying_bytes = 0
        self._file: IO[bytes] | None = None
        self._taken = 0
        self._in_file = 0
        self._front = 0
        self._writing: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._closed = False
        self.size: int = 0

    def put(self, data: bytes) -> None:
        """Add bytes; raise SpoolFullError when the budget has no room, OSError when the disk failed."""
        if self._error is not None:
            raise self._error
        if self._taken or self._pending_bytes + len(data) > self._room.memory_bytes:
            needed = len(data) if self._taken else self._pending_bytes + len(data)
            self._room.take(needed)
            self._taken += needed
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.size += len(data)
        if self._taken:
            self._spill()

    def offer(self, data: bytes) -> str | None:
        """Add bytes; return why they were not taken, none of them."""
        try:
            self.put(data)
        except SpoolFullError as error:
            return str(error)
        except OSError as error:
            return f"the disk of the spool failed ({error.strerror or error})"
        return None

    @property
    def backlog(self) -> int:
        """Bytes on their way to the disk."""
        waiting = self._pending_bytes if self._taken and self._error is None else 0
        return self._flying_bytes + waiting

    @property
    def unread(self) -> int:
        """Bytes that were neither read nor skipped."""
        return self.size - self._front

    def skip(self, count: int) -> None:
        """Move the front on: these bytes have gone out by another way."""
        self._front += count

    async def read(self, most: int | None = None) -> bytes:
        """Take the next bytes from the front; empty at the end. Raise OSError when the disk fails."""
        await self.settle()
        if self._front < self._in_file:
            data = await self._run(partial(self._pread, PIECE_BYTES if most is None else most))
            if not data:
                raise OSError("the spool's file is shorter than what was written")
        else:
            start = self._front - self._in_file
            data = b"".join(self._pending)[start : None if most is None else start + most]
        self._front += len(data)
        return data

    def read_now(self) -> bytes | None:
        """Take everything, if it is all in memory; None when there is a file."""
        if self._taken:
            return None
        data, self._front = b"".join(self._pending)[self._front :], self.size
        return data

    async def file(self) -> IO[bytes]:
        """Return the whole body as a file, writing it out where it is in memory; it stays the spool's own.

        Raises SpoolFullError or OSError where it cannot be written.
        """
        if not self._taken:
            self._room.take(self._pending_bytes)
            self._taken = max(1, self._pending_bytes)
            self._spill()
        await self.settle()
        if self._error is not None:
            raise self._error
        if self._file is None:
            self._file = await self._run(self._room.open)
        return self._file

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Return the whole body from its first byte on, whatever was read of it.

        Raises OSError or SpoolFullError.
        """
        if not self._taken:
            yield b"".join(self._pending)
            return
        file, at = await self.file(), 0
        while piece := await self._run(partial(os.pread, file.fileno(), PIECE_BYTES, at)):
            yield piece
            at += len(piece)
        if at != self.size:
            raise OSError("the spool's file is shorter than what was written")

    async def settle(self) -> None:
        """Wait until nothing is on its way to the disk."""
        while self._writing is not None:
            await asyncio.wait((self._writing,))

    def close(self) -> None:
        """Forget the body and free its room."""
        if self._closed:
            return
        self._closed = True
        self._room.give_back(self._taken)
        self._taken = 0
        self._pending = []
        file, self._file = self._file, None
        if file is not None:
            self._room.thread.submit(file.close)

    def _spill(self) -> None:
        if self._writing is not None or not self._pending or self._error is not None:
            return
        self._flying, self._pending = self._pending, []
        self._flying_bytes, self._pending_bytes = self._pending_bytes, 0
        self._writing = asyncio.get_running_loop().run_in_executor(
            self._room.thread, self._write, self._flying
        )
        self._writing.add_done_callback(self._written)

    def _write(self, chunks: list[bytes]) -> None:
        if self._file is None:
            self._file = self._room.open()
        for chunk in chunks:
            left = memoryview(chunk)
            while left:
                left = left[self._file.write(left) or 0 :]

    def _written(self, done: asyncio.Future[None]) -> None:
        self._writing = None
        if done.cancelled() or (error := done.exception()) is not None:
            self._error = OSError("the spool's writer was stopped") if done.cancelled() else error
            self._pending = [*self._flying, *self._pending]
            self._pending_bytes += self._flying_bytes
        else:
            self._in_file += self._flying_bytes
        self._flying, self._flying_bytes = [], 0
        if self._closed:
            self._closed = False
            self.close()
            return
        self._spill()

    def _pread(self, most: int) -> bytes:
        assert self._file is not None
        most = min(most, self._in_file - self._front)  # a failed write may have left more than that
        return os.pread(self._file.fileno(), most, self._front)

    async def _run[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._room.thread, work)
