"""Files that were judged whole, known by their bytes: what lets a piece of one pass as what was judged.

Of each file that was let through, keyed tags of its blocks are kept, with its digests. A piece is asked for
on the bounds of blocks, and each block must have its tag: an origin may call any bytes a piece of a file that
it showed once. An entity tag or a date would prove nothing. The content coding must be the same: the same
bytes are another file to who decodes them. What is listed by now follows from the digests.

The tags are AES-GMAC with the installation's secret and one nonce: whoever does not know the key cannot make
bytes that fit, and no tag ever leaves. GMAC costs a seventh of SHA-256.

The workers share a folder: a file for each URL, named by its identity, written whole or not at all; beside it
a lock that is held by who fetches the whole, and goes with its process, and marks of other things to know.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher, algorithms, modes

from secondlook.core.subject import FileSubject
from secondlook.download.body.ranges import Piece, read_content_range
from secondlook.download.body.response_facts import ResponseFacts, coding_of, is_multipart
from secondlook.download.body.slicing import Slice
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.lock import take_lock

logger = logging.getLogger(__name__)

BLOCK_BYTES = 64 << 10
TAG_BYTES = 16
LARGEST_BLOCK_BYTES = 16 << 20  # memory holds one for each piece that passes; of larger files nothing is kept
_MOST_BLOCKS = 4096  # of one file; a larger one has larger blocks
_MOST_FILES = 1000
_CLEAN_EVERY = 50  # writes
_NONCE = bytes(12)
_VERSION = 2


class Blocks:
    """Makes the tags of a body's blocks as it comes, and keeps nothing of it.

    `size` is what the headers declare, which may be a lie.
    """

    def __init__(self, key: bytes, size: int | None = None, block: int | None = None) -> None:
        self.block = block or BLOCK_BYTES
        most = LARGEST_BLOCK_BYTES
        while block is None and size is not None and self.block < most and size > self.block * _MOST_BLOCKS:
            self.block *= 2
        self._key = key
        self._mac: AEADEncryptionContext  # of the block that has begun
        self._missing = self.block
        self._tags = bytearray()
        self._too_many = size is not None and size > self.block * _MOST_BLOCKS

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        left = memoryview(data)
        while left and not self._too_many:
            if self._missing == self.block:
                self._mac = begin_tag(self._key)
            part, left = left[: self._missing], left[self._missing :]
            self._mac.authenticate_additional_data(part)
            self._missing -= len(part)
            if not self._missing:
                self._close_block()

    def end(self) -> bytes | None:
        """Return the tags, one after the other; None when there are too many."""
        if self._missing < self.block:
            self._close_block()
        return None if self._too_many else bytes(self._tags)

    def _close_block(self) -> None:
        self._tags += end_tag(self._mac)
        self._missing = self.block
        self._too_many = len(self._tags) > _MOST_BLOCKS * TAG_BYTES


def begin_tag(key: bytes) -> AEADEncryptionContext:
    """Begin the tag of a block, which takes its bytes as they come (NIST SP 800-38D: GMAC)."""
    return Cipher(algorithms.AES(key), modes.GCM(_NONCE)).encryptor()


def end_tag(mac: AEADEncryptionContext) -> bytes:
    """Return the tag of a block that is whole."""
    mac.finalize()
    return mac.tag


def tag_key(secret: bytes) -> bytes:
    """Derive the key of the tags from the installation's secret."""
    return sha256(b"secondlook judged files\0" + secret).digest()[:TAG_BYTES]


@dataclass(frozen=True, slots=True)
class JudgedFile:
    """A file that was judged whole: its size and blocks, its digests, and what could not be looked into.

    `coding` is its Content-Encoding (`coding_of`).
    """

    size: int
    block: int
    tags: bytes
    subject: FileSubject
    problem: str | None = None
    coding: str = ""

    def to_bytes(self) -> bytes:
        """Write it down: a line of JSON, then the tags."""
        head = {
            "version": _VERSION,
            "size": self.size,
            "block": self.block,
            "hashes": [each.hex() for each in self.subject.hashes],
            "labels": self.subject.labels,
            "filename": self.subject.filename,
            "md5": self.subject.md5,
            "sha1": self.subject.sha1,
            "problem": self.problem,
            "coding": self.coding,
        }
        return json.dumps(head).encode() + b"\n" + self.tags

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote; raise ValueError, KeyError or TypeError for anything else."""
        line, _, tags = data.partition(b"\n")
        head = read_json(line)
        if head["version"] != _VERSION:
            raise ValueError("another version")
        size, block = int(head["size"]), int(head["block"])
        if not 1 <= block <= LARGEST_BLOCK_BYTES or len(tags) != -(-size // block) * TAG_BYTES:
            raise ValueError("not as many tags as blocks, or too large blocks")
        subject = FileSubject(
            hashes=tuple(bytes.fromhex(each) for each in head["hashes"]),
            labels=tuple(head["labels"]),
            size=size,
            filename=head["filename"],
            md5=head["md5"],
            sha1=head["sha1"],
        )
        return cls(size, block, tags, subject, head["problem"], head["coding"])


class Proof:
    """Checks a piece of a judged file block by block, and takes out of it what is wanted (`Slice`)."""

    def __init__(self, file: JudgedFile, wanted: Sequence[tuple[int, int]], key: bytes) -> None:
        self.file = file
        self.slice = Slice(wanted, file.size)
        self.first = self.slice.first // file.block * file.block
        self.end = min(file.size, -(-self.slice.end // file.block) * file.block)
        self.slice.at = self.first
        self._key = key
        self._at = self.first
        self._waiting = bytearray()
        self._mac = begin_tag(key)

    @property
    def header(self) -> str:
        """The Range to ask for."""
        return f"bytes={self.first}-{self.end - 1}"

    def begin(self, facts: ResponseFacts, length: int | None) -> bool:
        """Take the head of a 206; False where it is not the piece that was asked for."""
        piece = read_content_range(facts.content_range)
        if piece != Piece(self.first, self.end - 1, self.file.size) or is_multipart(facts):
            return False
        if length not in {None, self.end - self.first}:
            return False
        if coding_of(facts) != self.file.coding:
            return False
        self.slice = Slice(self.slice.windows, self.file.size, facts.content_type)
        self.slice.at = self.first
        return True

    @property
    def whole(self) -> bool:
        """Return whether all of the piece came and fits."""
        return self._at == self.end

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes of the piece; return what may go on, None when they are not what was judged."""
        out: list[bytes] = []
        left = memoryview(data)
        while left:
            missing = min(self.file.block, self.end - self._at) - len(self._waiting)
            if not missing:  # all of the piece came, or a block that does not fit
                return None
            part, left = left[:missing], left[missing:]
            self._mac.authenticate_additional_data(part)
            self._waiting += part
            if len(part) == missing and not self._check_block(out):
                return None
        return b"".join(out)

    def _check_block(self, out: list[bytes]) -> bool:
        start = self._at // self.file.block * TAG_BYTES
        if end_tag(self._mac) != self.file.tags[start : start + TAG_BYTES]:
            return False
        out.append(self.slice.feed(memoryview(self._waiting)))
        self._at += len(self._waiting)
        self._waiting, self._mac = bytearray(), begin_tag(self._key)
        return True


class Lead:
    """The right to fetch a file whole while others wait for what comes of it; ends with `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let the next one have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError):
            self._path.unlink()
        os.close(descriptor)

    def __del__(self) -> None:
        self.release()


class JudgedFiles:
    """The judged files that the workers of an installation share, by the identities of their URLs."""

    def __init__(self, folder: Path, secret: bytes, thread: Executor) -> None:
        self.key = tag_key(secret)
        self._folder = folder
        self._thread = thread
        self._writes = count(1)

    async def find(self, url: bytes) -> JudgedFile | Lead | None:
        """Find what was judged under a URL, or get the right to fetch it; None while somebody else does."""
        return await self._run(lambda: self._read(url) or self._lock(url))

    async def known(self, url: bytes) -> JudgedFile | None:
        """Find what was judged under a URL; who finds nothing gets no right to fetch it."""
        return await self._run(lambda: self._read(url))

    def keep(self, url: bytes, file: JudgedFile, lead: Lead | None) -> None:
        """Let all workers know a file that was judged whole; whoever waits for it goes on after that."""
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._write, url, file)
        done.add_done_callback(lambda _: lead.release() if lead is not None else None)

    async def forget(self, url: bytes) -> bool:
        """Forget a file: its URL gives another by now. Return whether nobody else did before."""
        return await self._run(lambda: self._remove(self._path(url)))

    async def mark(self, what: bytes, ending: str, *, on: bool = True) -> None:
        """Let all workers know something of a URL, or of what else has an identity of 32 bytes."""
        path = self._path(what, ending)
        await self._run((lambda: self._touch(path)) if on else (lambda: path.unlink(missing_ok=True)))

    def note(self, what: bytes, ending: str, *, on: bool = True) -> None:
        """Do as `mark` does, and wait for nothing."""
        path = self._path(what, ending)
        with suppress(RuntimeError):  # the process ends
            self._thread.submit((lambda: self._touch(path)) if on else (lambda: path.unlink(missing_ok=True)))

    async def marked_at(self, what: bytes, ending: str) -> float | None:
        """Return when that was noted last (Unix seconds); None where it is not known."""
        return await self._run(lambda: self._changed(self._path(what, ending)))

    def _path(self, url: bytes, ending: str = "") -> Path:
        return self._folder / f"{url.hex()}{ending}"

    def _read(self, url: bytes) -> JudgedFile | None:
        try:
            return JudgedFile.from_bytes(self._path(url).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("what is known of a judged file cannot be read: %r", error)
            return None

    def _lock(self, url: bytes) -> Lead | None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(url, ".lock")
        try:
            descriptor = take_lock(path, wait=False)
        except BlockingIOError:
            return None
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return Lead(path, descriptor)
        os.close(descriptor)  # who had it took it away after it was opened here: it keeps nobody else out
        return None

    def _write(self, url: bytes, file: JudgedFile) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._path(url), file.to_bytes(), synced=False)
            self._clean_sometimes()
        except OSError as error:
            logger.warning("a judged file is not known to its pieces: %r", error)

    @staticmethod
    def _remove(path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            logger.warning("a judged file is not forgotten: %r", error)
        return True

    @staticmethod
    def _changed(path: Path) -> float | None:
        try:
            return path.stat().st_mtime
        except OSError:
            return None

    def _touch(self, path: Path) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._clean_sometimes()

    def _clean_sometimes(self) -> None:
        if next(self._writes) % _CLEAN_EVERY == 0:
            self._clean()

    def _clean(self) -> None:
        files = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[_MOST_FILES:]:
            path.unlink(missing_ok=True)

    async def _run[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
