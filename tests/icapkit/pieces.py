"""A judged file of three blocks behind an ICAP listener: asked for in pieces, and what comes."""

import asyncio
import hashlib
from dataclasses import replace

from icapkit.stand import pass_body, reqmod, respmod
from icapkit.wire import chunked
from proxykit.gatekeeper import FakeGatekeeper
from proxykit.samples import program
from secondlook.core.subject import FileSubject
from secondlook.download.judged_files import BLOCK_BYTES, Blocks, JudgedFile

BODY = program(2 * BLOCK_BYTES + 1000)
SIZE = len(BODY)
DIGEST = hashlib.sha256(BODY)
URL = "http://site.test/a.exe"
IDENTITY = FakeGatekeeper().subject("http", "site.test", "/a.exe").identity
SAYS = "X-Second-Look-Hands-On: X-Second-Look-Wanted\r\n"
SECOND = (BLOCK_BYTES, 2 * BLOCK_BYTES)  # the block in the middle
WANTED = "bytes=70000-70009"
KIND = "application/x-msdownload"


def judge(stand, url=IDENTITY, **more):
    """Keep BODY as judged; `more` is other about it."""
    blocks = Blocks(stand.gate.bodies.judged.key, SIZE)
    blocks.feed(BODY)
    tags = blocks.end()
    assert tags is not None
    file = JudgedFile(SIZE, blocks.block, tags, FileSubject((DIGEST.digest(),), size=SIZE))
    stand.run(_keep(stand.gate.bodies.judged, url, replace(file, **more)))


async def _keep(judged, url, file):
    judged.keep(url, file, None)
    while await judged.known(url) != file:
        await asyncio.sleep(0)


def see(stand):
    """Have the gateway hand something on."""
    heard = respmod(length=2, asked="", icap=f"Allow: 204\r\n{SAYS}X-Second-Look-Wanted: as-asked\r\n")
    assert stand.run(stand.ask(heard + chunked(b"ok") + b"0\r\n\r\n")).status == 204


def ask(stand, wanted=WANTED, *, icap=SAYS, headers="", url=URL):
    return stand.run(stand.ask(reqmod(url, headers=f"Range: {wanted}\r\n{headers}", icap=icap)))


def come(
    stand,
    piece,
    place=SECOND,
    *,
    wanted=WANTED,
    status=206,
    size=SIZE,
    headers="",
    icap=SAYS,
    length=None,
    path="/a.exe",
    asked=None,
):
    """Answer what REQMOD asked for (`asked`) with a piece; return what the client gets."""
    first, end = place
    said = f"Content-Range: bytes {first}-{end - 1}/{size}\r\n" if status == 206 else ""
    heard = f"X-Second-Look-Wanted: {wanted}\r\n" if wanted else ""
    head = respmod(
        path,
        kind=KIND,
        length=len(piece) if length is None else length,
        status=status,
        headers=said + headers,
        asked=f"Range: {asked or f'bytes={first}-{end - 1}'}\r\n",
        icap=f"Allow: 204\r\nPreview: 1024\r\n{icap}{heard}",
    )

    async def story():
        gateway = await stand.connect()
        reply = await pass_body(gateway, head, piece)
        gateway.close()
        return reply

    return stand.run(story())


def whole(reply):
    return reply.status == 200 and b"Range" not in reply.head and b"no-cache" not in reply.head
