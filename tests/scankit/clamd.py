"""clamd as Debian has it, with a database of three lines; and a daemon that answers whatever it is told to."""

import asyncio
import contextlib
import hashlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from proxykit.loop import LoopThread

MARK = b"a mark that only the tests' own signature knows"
PUA_MARK = b"a mark of what nobody wants"
YARA_MARK = b"a mark for a rule of clamd's own"
WHOLE = b"MZ a file that is known by its digest" * 20
STREAM_MAX_BYTES = 8 << 20
START_S = 60.0


def needs_clamd() -> str:
    """Give the path of clamd; skip where there is none."""
    found = shutil.which("clamd", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/opt/homebrew/sbin")
    if found is None:
        pytest.skip("clamd is not installed")
    return found


def write_database(folder: Path) -> None:
    """Write signatures of each kind: a digest, patterns, a YARA rule."""
    digest = hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()
    (folder / "own.hdb").write_text(f"{digest}:{len(WHOLE)}:Own.Digest\n")
    (folder / "own.ndb").write_text(f"Own.Mark:0:*:{MARK.hex()}\nPUA.Own.Mark:0:*:{PUA_MARK.hex()}\n")
    rule = f'rule Own_Rule {{ strings: $a = "{YARA_MARK.decode()}" condition: $a }}\n'
    (folder / "own.yara").write_text(rule)


@dataclass
class RealClamd:
    """A daemon that can be stopped, started and killed; its socket stays where it is."""

    folder: Path
    program: str
    stream_max: int = STREAM_MAX_BYTES >> 20  # MiB
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return str(self.folder / "clamd.ctl")

    @property
    def database(self) -> Path:
        return self.folder / "database"

    def start(self) -> None:
        self.database.mkdir(exist_ok=True)
        if not any(self.database.iterdir()):
            write_database(self.database)
        configuration = self.folder / "clamd.conf"
        # with `IdleTimeout` a thread that has nothing to do ends soon: a reload waits for all of them
        configuration.write_text(
            f"LocalSocket {self.address}\nDatabaseDirectory {self.database}\nForeground yes\n"
            f"StreamMaxLength {self.stream_max}M\nMaxThreads 4\nDetectPUA yes\nFixStaleSocket yes\nIdleTimeout 1\n"
            f"TemporaryDirectory {self.folder}\nConcurrentDatabaseReload no\n"
        )
        self.process = subprocess.Popen(
            [self.program, "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + START_S
        while self.command(b"zPING\0") != b"PONG\0":
            assert self.process.poll() is None, "clamd ended"
            assert time.monotonic() < end, "clamd does not answer"
            time.sleep(0.05)

    def command(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(START_S)
            try:
                sock.connect(self.address)
                sock.sendall(command)
                return sock.recv(4096)
            except OSError:
                return b""

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(START_S)
            self.process = None


@contextlib.contextmanager
def real_clamd(*, stream_max: int = STREAM_MAX_BYTES >> 20) -> Iterator[RealClamd]:
    """Run a daemon in a folder with a short name: a socket's path may have a hundred letters."""
    with tempfile.TemporaryDirectory(prefix="clamd-") as folder:
        daemon = RealClamd(Path(folder), needs_clamd(), stream_max=stream_max)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


@dataclass
class Lies:
    """What a daemon does that is no good one; `answer` is sent when the file is whole (None: never)."""

    version: bytes | None = b"ClamAV 1.4.3/27500/Mon Jan  5 10:00:00 2026\0"
    answer: bytes | None = b"stream: OK\0"
    after_bytes: int | None = None  # the answer is sent as soon as so much has come
    close_after_bytes: int | None = None  # the connection is closed then, without a word
    reads: bool = True  # False: nothing is read at all
    byte_by_byte: bool = False


@dataclass
class LyingClamd:
    """A daemon that does what `lies` says; `files` are those it was given whole."""

    lies: Lies = field(default_factory=Lies)
    files: list[bytes] = field(default_factory=list)
    connections: int = 0
    early: int = 0  # answers that were given in the middle of a file
    cut: int = 0  # files whose connection was closed in the middle

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="clamd-")
        self.address = f"{self._folder.name}/clamd.ctl"
        self._thread = LoopThread()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = self._thread.call(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.call(self._stop())
        self._thread.close()
        self._folder.cleanup()

    async def _serve(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._handle, self.address)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._talk(reader, writer)
        writer.transport.abort()
        self._tasks.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lies = self.lies
        if not lies.reads:
            await asyncio.sleep(3600)
        command = await reader.readuntil(b"\0")
        if command == b"zVERSION\0":
            await self._say(writer, lies.version)
            return
        body = b""
        while size := int.from_bytes(await reader.readexactly(4)):
            body += await reader.readexactly(size)
            if lies.close_after_bytes is not None and len(body) >= lies.close_after_bytes:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                self.cut += 1  # whoever looks at it finds the connection closed
                return
            if lies.after_bytes is not None and len(body) >= lies.after_bytes:
                await self._say(writer, lies.answer)
                self.early += 1
                await reader.read()
                return
        self.files.append(body)
        await self._say(writer, lies.answer)

    async def _say(self, writer: asyncio.StreamWriter, answer: bytes | None) -> None:
        if answer is None:
            await asyncio.sleep(3600)
            return
        for at in range(0, len(answer), 1 if self.lies.byte_by_byte else len(answer) or 1):
            writer.write(answer[at : at + (1 if self.lies.byte_by_byte else len(answer))])
            await writer.drain()
            await asyncio.sleep(0)
