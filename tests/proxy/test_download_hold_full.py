"""`downloads.hold: full`: a risky file of any size is held whole and judged before its first byte goes on."""

import asyncio
import hashlib
import time
from collections.abc import Callable

import pytest

from proxykit.origin import Asked, Origin, send, send_chunked
from proxykit.proxy import RunningProxy
from proxykit.samples import program
from secondlook.proxy.addon import SecondLookAddon

MIB = 1 << 20
SIZE = 21 * MIB + 7
BUDGET = 48 * MIB


class Disk:
    """An origin of one program; it counts what it was let send."""

    def __init__(self, size: int) -> None:
        self.body = program(size)

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        kind = "Content-Type: application/octet-stream"
        if asked.target.endswith("chunked"):
            pieces = [self.body[start : start + 70_001] for start in range(0, len(self.body), 70_001)]
            await send_chunked(writer, pieces, kind)
        else:
            await send(writer, self.body, kind)


@pytest.fixture
def disk() -> Disk:
    return Disk(SIZE)


@pytest.fixture
def held(make_proxy: Callable[..., RunningProxy]) -> RunningProxy:
    return make_proxy(workers=1, downloads={"hold": "full", "spool_max": BUDGET})


def _url(origin: Origin, shape: str) -> str:
    scheme = "https" if origin.tls else "http"
    return f"{scheme}://127.0.0.1:{origin.port}/setup.exe?{shape}"


def _emptied(proxy: RunningProxy) -> bool:
    """Wait until the whole budget is back and the folder is empty."""
    room = next(
        part for part in proxy.worker.master.addons.chain if isinstance(part, SecondLookAddon)
    ).bodies.room
    deadline = time.monotonic() + 60
    while room.left_bytes != BUDGET and time.monotonic() < deadline:
        time.sleep(0.02)
    return room.left_bytes == BUDGET and (not room.folder.is_dir() or not list(room.folder.iterdir()))


@pytest.mark.parametrize("shape", ["length", "chunked"])
@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_a_listed_program_larger_than_hold_up_to_gets_the_page(
    held, gatekeeper, disk, make_origin, curl, http, shape
):
    origin = make_origin(disk.reply, tls=True)
    gatekeeper.bad.add(hashlib.sha256(disk.body).hexdigest())
    done = curl(held, http, "-i", _url(origin, shape))
    assert done.returncode == 0, done.stderr
    assert b"x-second-look: blocked" in done.stdout.lower()
    assert len(done.stdout) < 100_000
    assert disk.body[:64] not in done.stdout
    assert _emptied(held)


@pytest.mark.parametrize("shape", ["length", "chunked"])
@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_a_clean_one_arrives_byte_for_byte_after_its_verdict(
    held, gatekeeper, disk, make_origin, curl, http, shape
):
    origin = make_origin(disk.reply, tls=True)
    done = curl(held, http, _url(origin, shape))
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(disk.body).digest()
    (*_, (_, subject, _, _)) = gatekeeper.files()
    assert subject.size == SIZE
    assert _emptied(held)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("shape", ["length", "chunked"])
def test_one_beyond_the_budget_of_the_spool_is_unverifiable_and_never_begun(
    held, gatekeeper, make_origin, curl, caplog, shape, blocks
):
    disk = Disk(BUDGET + MIB)
    origin = make_origin(disk.reply)
    gatekeeper.unverifiable_blocks = blocks
    done = curl(held, "-i", _url(origin, shape))
    assert done.stdout.startswith(b"HTTP/1.1 403")
    assert b"x-second-look: blocked" in done.stdout[:600].lower()
    assert len(done.stdout) < 100_000
    how, subject, context, decision = gatekeeper.seen[-1]
    assert (how, subject.kind, context.cls, decision.action) == ("unverifiable", "url", "download", "block")
    why = {"length": "larger than downloads.spool_max", "chunked": "no room left in the spool"}[shape]
    assert why in decision.evidence.detail
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]
    assert _emptied(held)


def test_a_broken_disk_refuses_what_must_be_held_and_hurts_nothing_else(held, gatekeeper, make_origin, curl):
    held.settings.state.joinpath("spool").touch()  # where the folder should be
    disk = Disk(8 * MIB)
    origin = make_origin(disk.reply)
    done = curl(held, "-i", _url(origin, "length"))
    assert done.stdout.startswith(b"HTTP/1.1 403")
    assert "the disk of the spool failed" in gatekeeper.seen[-1][3].evidence.detail
    disk.body = program(500_000)
    assert curl(held, _url(origin, "length")).stdout == disk.body
    assert _emptied(held)


@pytest.mark.parametrize("shape", ["length", "chunked"])
@pytest.mark.parametrize("broken", [False, True])
def test_without_room_on_disk_tails_wait_in_memory_and_pieces_are_given_whole(
    make_proxy, gatekeeper, make_origin, curl, shape, broken
):
    proxy = make_proxy(workers=1, downloads={"spool_max": 0, "spool_memory": 1000})
    if broken:
        proxy = make_proxy(workers=1, downloads={"spool_memory": 1000})
        proxy.settings.state.joinpath("spool").touch()
    disk = Disk(SIZE)
    origin = make_origin(disk.reply)
    assert curl(proxy, _url(origin, shape)).stdout == disk.body
    assert not [how for how, *_ in gatekeeper.seen if how == "unverifiable"]
    part = curl(proxy, "-i", "-r", "1000-1999", _url(origin, shape)).stdout
    head, _, got = part.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert got == disk.body
    gatekeeper.bad.add(hashlib.sha256(disk.body).hexdigest())
    done = curl(proxy, _url(origin, shape))
    assert done.returncode != 0
    assert len(done.stdout) <= SIZE - (64 << 10)


def test_the_budget_is_shared_and_given_back_when_a_client_goes_away(held, make_origin, curl):
    waiting = asyncio.Event()

    async def stuck(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, b"", f"Content-Length: {BUDGET}", length=False)
        writer.write(program(20 * MIB))
        await writer.drain()
        await waiting.wait()

    origin = make_origin(stuck)
    curl(held, _url(origin, "length"), timeout_s=2)
    assert _emptied(held)
