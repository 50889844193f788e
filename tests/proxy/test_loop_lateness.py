"""Bodies that stand for much more than they are hold nobody up: the loop's lateness during each (about 10 s)."""

import asyncio
import gzip
import hashlib
import threading
import time

import pytest

from proxykit.bombs import bombs
from proxykit.origin import Asked, send
from proxykit.samples import EICAR, zipped
from secondlook.download.body.body_type import declared
from secondlook.download.body.decoders import STEP_BYTES
from secondlook.download.body.decoding import FEED_BYTES, Decoder
from secondlook.download.body.inspection import BodyLook

MIB = 1 << 20


ATTACKS = {
    "zeros in gzip": "gzip",
    "members without number": "gzip",
    "blocks without content": "deflate",
    "brotli with more behind it": "br",
    "frames without number": "zstd",
    "zeros in zstd": "zstd",
    "zeros in gzip in brotli": "gzip, br",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_piece_fed_decodes_a_bounded_part(attack):
    """A call of `feed` gives at most its share, however the body is encoded, and what is left is done by `work`."""
    coding = ATTACKS[attack]
    chain = tuple(reversed([part.strip() for part in coding.split(",")]))
    decoder = Decoder(chain, ratio=10**6)
    body = bombs()[attack]
    for start in range(0, len(body), 65_536):
        given = sum(map(len, decoder.feed(body[start : start + 65_536])))
        assert given <= FEED_BYTES + (STEP_BYTES if coding != "zstd" else 2 * MIB)
        while decoder.behind:
            for _ in decoder.work():
                pass
    assert not list(decoder.finish())


def test_feeding_alone_and_working_too_give_the_same():
    body = gzip.compress(bytes(3 * MIB)) + gzip.compress(EICAR)
    digests = []
    for patient in (True, False):
        look = BodyLook(
            declared("text/html", None, "/"),
            "gzip",
            kinds=frozenset(),
            ratio=10**4,
            layers=1,
            multipart=False,
        )
        look.feed(body)
        while patient and look.behind:
            look.work()
        look.end()
        digests.append(look.subject().hashes)
    assert digests[0] == digests[1]
    assert hashlib.sha256(bytes(3 * MIB) + EICAR).digest() in digests[0]


def test_no_body_holds_up_the_loop_or_a_page_beside_it(proxy, make_origin, curl):
    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        name = asked.target.strip("/").replace("%20", " ")
        coding = ATTACKS.get(name, "identity")
        await send(
            writer,
            bombs()[name] if name in ATTACKS else b"hello",
            "Content-Type: text/html",
            f"Content-Encoding: {coding}",
        )

    origin = make_origin(reply)
    late: list[float] = []
    stop = threading.Event()

    async def probe() -> None:
        while not stop.is_set():
            start = time.thread_time()
            await asyncio.sleep(0.002)
            late.append(time.thread_time() - start)  # what the loop's thread worked meanwhile: no stopwatch

    probing = proxy._thread.submit(probe())
    for name in ATTACKS:
        done = curl(proxy, f"http://127.0.0.1:{origin.port}/{name.replace(' ', '%20')}")
        assert done.stdout == bombs()[name], name
    stop.set()
    probing.result(60)
    assert max(late) < 0.1, sorted(late)[-5:]  # 10 ms on a quiet machine


def test_identical_bombs_are_looked_into_once(proxy, gatekeeper, make_origin, curl):
    bomb = bombs()["bzip2 of 300 MiB"]
    assert len(bomb) < 300
    good = zipped({"eicar.com": EICAR})

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        body = bomb if asked.target.startswith("/bomb") else good
        await send(writer, body, "Content-Type: application/octet-stream")

    origin = make_origin(reply)
    base = f"http://127.0.0.1:{origin.port}"
    threads = [threading.Thread(target=curl, args=(proxy, f"{base}/bomb{n}")) for n in range(20)]
    for thread in threads:
        thread.start()
    assert curl(proxy, f"{base}/good.zip").stdout == good
    for thread in threads:
        thread.join()
    subjects = [subject for how, subject, _, _ in gatekeeper.files() if how == "unverifiable"]
    assert len(subjects) == 20
    assert hashlib.sha256(EICAR).digest() in gatekeeper.files()[-1][1].hashes or any(
        hashlib.sha256(EICAR).digest() in subject.hashes for _, subject, _, _ in gatekeeper.files()
    )
