"""The gate by itself: what goes on, what is withheld, for any body in any pieces."""

import asyncio
import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxykit.samples import program, prose
from secondlook.proxy.bodytype import declared, filename_of, may_begin, risky_signature
from secondlook.proxy.gate import BodyGate, Fate, GateLimits
from secondlook.proxy.spool import Spool, SpoolFullError, SpoolRoom

LIMITS = GateLimits(
    hold_up_to=2000,
    hold_full=False,
    tail_min=300,
    tail_part=0.1,
    local_up_to=500,
    sniff=64,
    ratio=100,
    layers=4,
)


async def _through(
    body: bytes, pieces: list[int], said: str, length: bool, folder: Path
) -> tuple[bytes, bytes, BodyGate]:
    """Send a body through; give what went on before the verdict, and the rest."""
    room = SpoolRoom(folder, 1 << 20, 256)
    gate = BodyGate(
        declared(said, None, "/file"),
        len(body) if length else None,
        None,
        LIMITS,
        room,
        kinds=frozenset({"md5"}),
        hold_whole=False,
    )
    early = b""
    edges = [0, *sorted(cut % (len(body) + 1) for cut in pieces), len(body)]
    for start, end in pairwise(edges):
        if start == end:
            continue
        out = gate.feed(body[start:end])
        if gate.release:
            gate.release = False
            assert gate.spool is not None
            while piece := await gate.spool.read():
                early += piece
        early += out
    gate.end()
    late = b""
    if gate.spool is not None:
        while piece := await gate.spool.read():
            late += piece
    late += gate.rest()
    gate.close()
    await asyncio.get_running_loop().run_in_executor(room.thread, lambda: None)
    assert room.left_bytes == 1 << 20
    room.close()
    return early, late, gate


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 8000),
    risky=st.booleans(),
    said=st.sampled_from(["application/x-msdownload", "text/plain", "image/png", "text/event-stream"]),
    pieces=st.lists(st.integers(0, 10**6), max_size=12),
    length=st.booleans(),
)
def test_any_body_in_any_pieces(tmp_path, size, risky, said, pieces, length):
    body = program(size) if risky else prose(size)
    early, late, gate = asyncio.run(_through(body, pieces, said, length, tmp_path))
    assert early + late == body
    assert gate.subject().hashes[0] == hashlib.sha256(body).digest()
    assert "md5" in gate.subject().labels
    event = said == "text/event-stream"
    if said == "application/x-msdownload" or (risky and size >= 2 and not event):
        assert gate.risky
        assert late, "a risky body must never be out whole before its verdict"
        if size > 2000 + 300:
            assert len(late) >= 300
        if size <= 2000:
            assert early == b""


def test_fates():
    def fate(said: str, length: int | None, *, whole: bool = False) -> Fate:
        room = SpoolRoom(Path("/nonexistent"), 0, 0)
        found = BodyGate(
            declared(said, None, "/x"), length, None, LIMITS, room, kinds=frozenset(), hold_whole=whole
        ).fate
        room.close()
        return found

    assert fate("text/html", 500) is Fate.SMALL
    assert fate("text/html", 501) is Fate.SNIFF
    assert fate("text/html", None) is Fate.SNIFF
    assert fate("text/event-stream", None) is Fate.PASS
    assert fate("application/grpc", None) is Fate.PASS
    assert fate("application/zip", 2000) is Fate.HOLD
    assert fate("application/zip", 2001) is Fate.TAIL
    assert fate("application/zip", None) is Fate.HOLD
    assert fate("application/zip", 2001, whole=True) is Fate.HOLD


def test_the_spool_keeps_to_its_budget(tmp_path):
    async def fill() -> None:
        room = SpoolRoom(tmp_path, 1000, 100)
        one, two = Spool(room), Spool(room)
        one.put(b"x" * 800)
        with pytest.raises(SpoolFullError):
            two.put(b"y" * 300)
        assert list(tmp_path.iterdir()) == []  # files without names
        one.close()
        await asyncio.get_running_loop().run_in_executor(room.thread, lambda: None)
        await asyncio.sleep(0)
        two.put(b"y" * 300)
        assert await two.read() == b"y" * 300
        two.close()
        room.close()

    asyncio.run(fill())


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"MZ\x90\x00", "pe"),
        (b"\x7fELF\x02", "elf"),
        (b"PK\x03\x04\x14", "zip"),
        (b"#!/bin/sh\n", "script"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\0" * 257 + b"ustar\x0000", "tar"),
        (b"Rar!\x1a\x07\x01", "rar"),
        (b"!<arch>\ndebian", "ar"),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"<!doctype html>", None),
        (b"GIF89a", None),
        (b"wOF2", None),
        (b"\0asm", None),
        (b"", None),
    ],
)
def test_signatures(first, name):
    assert risky_signature(first) == name


def test_few_bytes_wait_only_while_they_may_be_dangerous():
    assert may_begin(b"")
    assert may_begin(b"M")
    assert may_begin(b"PK\x03")
    assert not may_begin(b"data: ")
    assert not may_begin(b"<")


@pytest.mark.parametrize(
    ("content_type", "disposition", "path", "risky"),
    [
        ("application/x-msdownload", None, "/a", True),
        ("application/vnd.microsoft.portable-executable", None, "/a", True),
        ("application/zip", None, "/a", True),
        ("application/octet-stream", None, "/a.exe", True),
        ("application/octet-stream", None, "/a.bin", False),
        (None, None, "/setup.msi", True),
        ("application/octet-stream", "attachment", "/a", True),
        ("text/html", None, "/download.exe", False),
        ("image/png", "attachment; filename=x.png", "/a", False),
        ("text/javascript", None, "/a.js", False),
        ("text/javascript", 'attachment; filename="x.js"', "/a", True),
        ("application/vnd.ms-word.document.macroEnabled.12", None, "/a", True),
        ("text/event-stream", "attachment; filename=x.exe", "/a.exe", False),
        ("application/json", None, "/a.json", False),
        ("application/pdf", None, "/a.pdf", False),
    ],
)
def test_headers(content_type, disposition, path, risky):
    assert declared(content_type, disposition, path).risky is risky


@pytest.mark.parametrize(
    ("disposition", "path", "name"),
    [
        (None, "/a/b.exe?x=/c", "b.exe"),
        (None, "/a/%66ile.exe", "file.exe"),
        ('attachment; filename="a b.exe"', "/", "a b.exe"),
        ("attachment; filename=plain.exe; x=y", "/", "plain.exe"),
        ("attachment; filename=\"x\"; filename*=UTF-8''na%C3%AFve.exe", "/", "naïve.exe"),
        ('attachment; filename="../../etc/passwd"', "/", "passwd"),
        ('attachment; filename="C:\\\\dir\\\\x.exe"', "/", "x.exe"),
        ("attachment; filename*=nonsense''%41.exe", "/y.zip", "y.zip"),
        (None, "/", None),
    ],
)
def test_names(disposition, path, name):
    assert filename_of(disposition, path) == name


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_hostile_headers_never_raise(content_type, disposition, path):
    declared(content_type, disposition, path)
