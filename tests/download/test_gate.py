"""The gate by itself: what goes on, what is withheld, for any body in any pieces."""

import asyncio
import contextlib
import hashlib
import os
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxykit.gate import LIMITS, read_held
from proxykit.samples import EICAR, program, prose
from secondlook.download.body.body_type import declared
from secondlook.download.body.signatures import may_begin, risky_signature
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate.spool import Spool, SpoolFullError, SpoolRoom
from secondlook.download.gate.trickle import PART


@dataclass
class Run:
    """One body on its way: what it is, how it comes, and what there is to hold it."""

    body: bytes = field(repr=False)
    said: str
    pieces: list[int]
    length: bool
    room: str  # plenty, little, none or broken
    patient: bool  # the disk has time between the pieces
    hold_full: bool


BUDGETS = {"plenty": 1 << 20, "little": 3000, "none": 0, "broken": 1 << 20}


async def _through(run: Run, folder: Path) -> tuple[bytes, bytes, BodyGate, bytes | None]:
    """Send a body through; give what went on before the verdict, the rest, and the copy of an archive."""
    place = folder / "spool"
    if run.room == "broken":
        folder.joinpath("file").touch()
        place = folder / "file" / "spool"  # no folder can be made there
    room = SpoolRoom(place, BUDGETS[run.room], 256)
    gate = BodyGate(
        declared(run.said, None, "/file"),
        len(run.body) if run.length else None,
        None,
        replace(LIMITS, hold_full=run.hold_full),
        room,
        kinds=frozenset({"md5"}),
        must_hold=False,
    )
    early = b""
    edges = [0, *sorted(cut % (len(run.body) + 1) for cut in run.pieces), len(run.body)]
    for start, end in pairwise(edges):
        if start == end:
            continue
        out = gate.feed(run.body[start:end])
        if gate.release:
            early += await read_held(gate)
            gate.released()
        early += out
        if run.patient and gate.spool is not None:
            await gate.spool.settle()
    gate.end()
    copy = None
    if gate.is_archive and gate.uncopied is None:
        assert gate.spool is not None
        with contextlib.suppress(OSError, SpoolFullError):
            copy = os.pread((await gate.spool.file()).fileno(), len(run.body) + 1, 0)
    late = await read_held(gate)
    held = gate.rest_bytes
    memory = gate.rest_piece() + gate.rest()
    assert (len(memory), gate.rest_bytes) == (held, 0)
    late += memory
    gate.close()
    await asyncio.get_running_loop().run_in_executor(room.thread, lambda: None)
    assert room.left_bytes == BUDGETS[run.room]
    assert not place.exists() or not list(place.iterdir())
    room.close()
    return early, late, gate, copy


@st.composite
def runs(draw: st.DrawFn) -> Run:
    size = draw(st.integers(1, 8000))
    make = draw(st.sampled_from([program, prose, lambda size: (b"PK\x03\x04" + program(size))[:size]]))
    said = ["application/x-msdownload", "application/zip", "text/plain", "image/png", "text/event-stream"]
    return Run(
        body=make(size),
        said=draw(st.sampled_from(said)),
        pieces=draw(st.lists(st.integers(0, 10**6), max_size=12)),
        length=draw(st.booleans()),
        room=draw(st.sampled_from(list(BUDGETS))),
        patient=draw(st.booleans()),
        hold_full=draw(st.booleans()),
    )


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run=runs())
def test_any_body_in_any_pieces(tmp_path, run):
    size = len(run.body)
    early, late, gate, copy = asyncio.run(_through(run, tmp_path))
    assert early + late == run.body
    assert gate.look.subject().hashes[0] == hashlib.sha256(run.body).digest()
    assert "md5" in gate.look.subject().labels
    if gate.fate is Fate.REFUSE:
        assert run.hold_full
        assert run.room != "plenty"
        assert early == b""
        assert (gate.problem or "").startswith("it cannot be held whole: ")
        return
    declared_risky = run.said in {"application/x-msdownload", "application/zip"}
    if declared_risky or run.body[:4] == b"PK\x03\x04" or run.body[:2] == b"MZ":
        assert gate.look.risky
        assert late, "a risky body must never be out whole before its verdict"
        if size > 2000 + 300 and run.room != "broken":
            assert len(late) >= 300
        if run.room == "plenty":
            assert early == b"" or (size > 2000 and not run.hold_full)
    if gate.is_archive and run.room == "plenty" and run.said == "application/zip":
        assert copy == run.body if size <= LIMITS.look_up_to or run.hold_full else copy is None
    assert copy is None or copy == run.body


def test_fates():
    def fate(said: str, length: int | None, *, whole: bool = False) -> Fate:
        room = SpoolRoom(Path("/nonexistent"), 3000, 0)
        found = BodyGate(
            declared(said, None, "/x"), length, None, LIMITS, room, kinds=frozenset(), must_hold=whole
        ).fate
        room.close()
        return found

    assert fate("text/html", 500) is Fate.SMALL
    assert fate("text/html", 501) is Fate.SNIFF
    assert fate("text/html", None) is Fate.SNIFF
    assert fate("text/event-stream", None) is Fate.SNIFF
    assert fate("text/event-stream", 100) is Fate.SNIFF
    assert fate("application/zip", 2000) is Fate.HOLD
    assert fate("application/zip", 2001) is Fate.TAIL
    assert fate("application/zip", None) is Fate.HOLD
    assert fate("application/zip", 3000, whole=True) is Fate.HOLD
    assert fate("application/zip", 3001, whole=True) is Fate.REFUSE
    assert fate("text/html", 3001, whole=True) is Fate.SNIFF


@pytest.mark.parametrize(("whole", "part"), [(True, 0), (False, 1500 // PART)])
def test_what_must_be_held_whole_gives_nothing_before_its_verdict(tmp_path, whole, part):
    async def run() -> bytes:
        room = SpoolRoom(tmp_path / "spool", 1 << 20, 1 << 20)
        gate = BodyGate(
            declared("application/zip", None, "/x"),
            1500,
            None,
            LIMITS,
            room,
            kinds=frozenset(),
            must_hold=whole,
        )
        assert gate.feed(program(1500)) == b""
        assert gate.spare == part
        given = await gate.trickle()
        gate.close()
        room.close()
        return given

    assert asyncio.run(run()) == program(1500)[:part]


@pytest.mark.parametrize("length", [None, 1 << 19])
def test_what_a_page_of_many_parts_had_in_the_spool_is_given_back(tmp_path, length):
    """Its address gave a file before, so that it waits from its first byte on."""
    room = SpoolRoom(tmp_path, 1 << 20, 256)
    stated = replace(declared("multipart/x-mixed-replace; boundary=frame", None, "/live"), risky=True)

    async def run() -> None:
        gate = BodyGate(stated, length, None, LIMITS, room, kinds=frozenset(), must_hold=True)
        gate.feed(b"--frame\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n" + prose(1 << 16))
        await gate.settle()
        assert room.left_bytes < 1 << 20
        gate.feed(b"\r\n--frame\r\nContent-Type: application/x-a\r\n\r\n")
        assert gate.fate is Fate.REFUSE
        gate.close()
        await gate.settle()

    asyncio.run(run())
    room.thread.shutdown()
    assert room.left_bytes == 1 << 20


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
        (EICAR, "eicar"),
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
    assert may_begin(b"{")
    assert not may_begin(b'{"')
    assert not may_begin(b"\0\0\0\0\5")
    assert not may_begin(b"--")
    assert not may_begin(b"<")
