"""Judged files: a piece passes as what was judged, or not at all; workers share what they know by a folder."""

import asyncio
import hashlib
import os
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from proxykit.samples import prose
from secondlook.core.subject import FileSubject
from secondlook.download import judged_files
from secondlook.download.judged_files import (
    BLOCK_BYTES,
    LARGEST_BLOCK_BYTES,
    TAG_BYTES,
    Blocks,
    JudgedFile,
    JudgedFiles,
    Lead,
    Proof,
    tag_key,
)
from secondlook.ground.lock import take_lock

KEY = tag_key(b"k" * 32)
URL, OTHER = b"u" * 32, b"o" * 32


def _judged(body: bytes, block: int) -> JudgedFile:
    blocks = Blocks(KEY, len(body), block)
    for start in range(0, len(body), 777):
        blocks.feed(body[start : start + 777])
    tags = blocks.end()
    assert tags is not None
    return JudgedFile(len(body), block, tags, FileSubject((hashlib.sha256(body).digest(),), size=len(body)))


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 5000])
@pytest.mark.parametrize("step", [1, 333, 1000, 4096])
def test_a_proof_gives_what_is_wanted_of_what_was_judged(size, step):
    body = prose(size)
    file = JudgedFile.from_bytes(_judged(body, 1000).to_bytes())
    for first, wanted in [(0, size), (size // 2, 1), (size - 1, 1), (size // 3, size // 2 or 1)]:
        proof = Proof(file, [(first, wanted)], KEY)
        assert proof.first % 1000 == 0
        piece = body[proof.first : proof.end]
        out = [proof.feed(piece[start : start + step]) for start in range(0, len(piece), step)]
        assert b"".join(part or b"" for part in out) == body[first : first + wanted]
        assert proof.whole
        assert proof.feed(b"x") is None  # more than was asked for


def test_a_changed_byte_anywhere_is_seen_before_its_block_goes_on():
    body = prose(5000)
    file = _judged(body, 1000)
    for at in (0, 999, 1000, 4999):
        bad = bytearray(body)
        bad[at] ^= 1
        proof = Proof(file, [(0, 5000)], KEY)
        out = [proof.feed(bytes(bad[start : start + 1000])) for start in range(0, 5000, 1000)]
        assert b"".join(out[: at // 1000]) == body[: at // 1000 * 1000]
        assert out[at // 1000] is None
        assert not proof.whole


def test_blocks_grow_with_the_file_and_the_tags_need_the_key():
    assert Blocks(KEY, 256 << 20).block == BLOCK_BYTES
    assert Blocks(KEY, 4 << 30).block == 16 * BLOCK_BYTES
    assert len(_judged(prose(5000), 1000).tags) == 5 * TAG_BYTES
    other = Proof(_judged(prose(5000), 1000), [(0, 10)], tag_key(b"another"))
    assert other.feed(prose(5000)[:1000]) is None


@pytest.mark.parametrize("size", [None, 1000, 1 << 50])
def test_nothing_of_a_body_is_kept_for_its_tags(size):
    blocks, data = Blocks(KEY, size), prose(100_000)
    before = sys.getrefcount(data)
    blocks.feed(data)
    assert sys.getrefcount(data) == before


def test_a_piece_that_comes_in_crumbs_takes_no_more_memory_than_its_block():
    body = prose(BLOCK_BYTES)
    proof = Proof(_judged(body, BLOCK_BYTES), [(0, BLOCK_BYTES)], KEY)
    tracemalloc.start()
    try:
        for at in range(BLOCK_BYTES - 1):
            assert proof.feed(body[at : at + 1]) == b""
        assert tracemalloc.get_traced_memory()[0] < 4 * BLOCK_BYTES
    finally:
        tracemalloc.stop()
    assert proof.feed(body[-1:]) == body


def test_blocks_have_a_largest_size_and_larger_files_are_not_known():
    most = 4096 * LARGEST_BLOCK_BYTES
    for size, known in ((most, True), (most + 1, False), (1 << 60, False)):
        blocks = Blocks(KEY, size)
        blocks.feed(b"x")
        assert (blocks.block, blocks.end() is not None) == (LARGEST_BLOCK_BYTES, known)
    for block, known in ((LARGEST_BLOCK_BYTES, True), (LARGEST_BLOCK_BYTES + 1, False)):
        data = JudgedFile(9, block, bytes(TAG_BYTES), FileSubject((b"a" * 32,), size=9)).to_bytes()
        with nullcontext() if known else pytest.raises(ValueError, match="too large blocks"):
            JudgedFile.from_bytes(data)


@pytest.mark.parametrize(
    "data", [b"", b"{}\n", b"[]\n", b'{"version": 9}\n', b"\xff", b'{"version": 1, "size": 9, "block": 0}\n']
)
def test_what_is_no_judged_file_is_not_taken_for_one(data):
    with pytest.raises((ValueError, KeyError, TypeError)):
        JudgedFile.from_bytes(data)


def test_a_body_in_any_pieces_has_the_same_tags():
    body = prose(5000)
    whole = Blocks(KEY, len(body), 1000)
    whole.feed(body)
    assert whole.end() == _judged(body, 1000).tags


def test_a_body_without_a_length_may_be_too_long_to_be_known():
    for blocks, known in ((4096, True), (4097, False)):
        body = Blocks(KEY, None, 4)
        body.feed(b"abcd" * blocks)
        assert (body.end() is not None) is known


def test_all_that_is_known_of_a_file_is_written_down():
    subject = FileSubject(
        (b"a" * 32, b"b" * 32), labels=("", "in.exe"), size=9, filename="x.zip", md5="c" * 32, sha1="d" * 40
    )
    file = JudgedFile(9, 4, b"t" * 3 * TAG_BYTES, subject, "encrypted", "gzip")
    assert JudgedFile.from_bytes(file.to_bytes()) == file


def test_what_was_written_down_without_its_coding_is_not_known():
    data = _judged(b"x", 4).to_bytes().replace(b'"version": 2', b'"version": 1')
    with pytest.raises(ValueError, match="another version"):
        JudgedFile.from_bytes(data)


def _together(tmp_path: Path, test: Callable[[JudgedFiles, JudgedFiles], Awaitable[None]]) -> None:
    """Run a test with two workers of one installation."""
    with ThreadPoolExecutor(1) as thread:
        asyncio.run(test(*(JudgedFiles(tmp_path / "judged", b"k" * 32, thread) for _ in range(2))))


async def _kept(files: JudgedFiles, url: bytes, file: JudgedFile, lead: Lead | None) -> None:
    files.keep(url, file, lead)
    while not isinstance(await files.find(url), JudgedFile):
        await asyncio.sleep(0)


def test_one_fetches_and_all_others_wait(tmp_path):
    async def test(one: JudgedFiles, two: JudgedFiles) -> None:
        lead = await one.find(URL)
        assert isinstance(lead, Lead)
        assert await one.find(URL) is None
        assert await two.find(URL) is None
        other = await two.find(OTHER)
        assert isinstance(other, Lead), "of another file nobody has to wait"
        lead.release()
        following = await two.find(URL)
        assert isinstance(following, Lead)
        lead.release()  # does no harm to who has it now
        assert await one.find(URL) is None
        following.release()
        other.release()

    _together(tmp_path, test)


def test_a_lead_that_is_forgotten_goes_to_the_next(tmp_path):
    async def test(one: JudgedFiles, two: JudgedFiles) -> None:
        lead = await one.find(URL)
        assert await two.find(URL) is None
        del lead
        assert isinstance(await two.find(URL), Lead)

    _together(tmp_path, test)


def test_what_was_judged_is_known_to_all_before_who_waits_goes_on(tmp_path):
    file = _judged(prose(5000), 1000)

    async def test(one: JudgedFiles, two: JudgedFiles) -> None:
        lead = await one.find(URL)
        assert isinstance(lead, Lead)
        one.keep(URL, file, lead)
        while (found := await two.find(URL)) is None:
            await asyncio.sleep(0)
        assert found == file
        await two.forget(URL)
        assert isinstance(await one.find(URL), Lead)

    _together(tmp_path, test)


def test_what_somebody_else_judged_meanwhile_is_known_at_once(tmp_path):
    """Who wants all of a file waits for nobody, and may be faster than who began."""
    file = _judged(prose(5000), 1000)

    async def test(one: JudgedFiles, two: JudgedFiles) -> None:
        lead = await one.find(URL)
        assert isinstance(lead, Lead)
        await _kept(two, URL, file, None)
        assert await one.find(URL) == file
        lead.release()

    _together(tmp_path, test)


def test_a_lock_that_was_taken_away_meanwhile_gives_no_lead(tmp_path, monkeypatch):
    def late(path: Path, *, wait: bool) -> int:
        descriptor = take_lock(path, wait=wait)
        path.unlink()
        return descriptor

    async def test(one: JudgedFiles, _: JudgedFiles) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(judged_files, "take_lock", late)
            assert await one.find(URL) is None
        assert isinstance(await one.find(URL), Lead)

    _together(tmp_path, test)


def test_a_file_that_cannot_be_read_is_fetched_again(tmp_path, caplog):
    async def test(one: JudgedFiles, _: JudgedFiles) -> None:
        await _kept(one, URL, _judged(prose(5000), 1000), None)
        path = tmp_path / "judged" / URL.hex()
        path.write_bytes(path.read_bytes()[:-1])
        assert isinstance(await one.find(URL), Lead)

    _together(tmp_path, test)
    assert "cannot be read" in caplog.text


def test_only_the_newest_files_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(judged_files, "_MOST_FILES", 3)
    monkeypatch.setattr(judged_files, "_CLEAN_EVERY", 5)
    file = _judged(prose(5000), 1000)

    async def test(one: JudgedFiles, _: JudgedFiles) -> None:
        for number in range(5):
            url = bytes([number]) * 32
            await _kept(one, url, file, None)
            if number < 4:
                os.utime(tmp_path / "judged" / url.hex(), (number, number))
        while len(kept := {path.name for path in (tmp_path / "judged").iterdir()}) > 3:
            await asyncio.sleep(0)
        assert kept == {(bytes([number]) * 32).hex() for number in (2, 3, 4)}

    _together(tmp_path, test)


def test_nobody_else_may_read_what_was_judged(tmp_path):
    async def test(one: JudgedFiles, _: JudgedFiles) -> None:
        await _kept(one, URL, _judged(prose(5000), 1000), None)

    _together(tmp_path, test)
    assert (tmp_path / "judged").stat().st_mode & 0o777 == 0o700
