"""Any body, cut into any chunks, in any encoding, asked for in any range: all of it or, when listed, never."""

import asyncio
import gzip
import hashlib
import http.client
import itertools
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import brotli
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.origin import Asked, Origin, send_chunked
from proxykit.proxy import RunningProxy
from proxykit.samples import program, prose

KIB = 1 << 10
ENCODERS: dict[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": lambda data: zstandard.ZstdCompressor(1).compress(data),
    "gzip, br": lambda data: brotli.compress(gzip.compress(data, 1), quality=1),
    "br-that-is-not": bytes,
}
SIZES = st.one_of(
    st.integers(0, 3000),
    st.sampled_from([64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB, 256 * KIB + 1, 1 << 20]),
    st.integers(0, 700_000),
)
RANGES = st.one_of(
    st.none(),
    st.builds("bytes={}-{}".format, st.integers(0, 2000), st.integers(0, 400_000)),
    st.builds("bytes={}-".format, st.integers(0, 200_000)),
    st.builds("bytes=-{}".format, st.integers(1, 200_000)),
    st.sampled_from(["bytes=0-0,5-9", "lines=1-2", "bytes=9-1", "bytes=", "bytes=a-b"]),
)


@dataclass
class Case:
    """One download: what the origin has, how it sends it and what the client asks for."""

    body: bytes = field(repr=False)  # as it is sent
    decoded: bytes = field(repr=False)
    kind: str
    encoding: str | None
    shape: str
    cuts: list[int]
    wanted: str | None
    insists: bool  # the origin sends a piece though it was asked for the whole
    listed: str | None  # which form of the body is listed
    risky: bool


@dataclass
class Teller:
    """An origin that plays the current case and remembers exactly what it sent."""

    case: Case | None = None
    status: int = 0
    asked: str | None = None  # the range that reached us: may be wider than what the client wants
    sent: bytes = field(default=b"", repr=False)
    names: Iterator[int] = field(default_factory=itertools.count)

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        case = self.case
        assert case is not None
        body, size = case.body, len(case.body)
        headers = [f"Content-Type: {case.kind}", f'ETag: "{asked.target}"']
        if case.encoding is not None:
            headers.append(f"Content-Encoding: {case.encoding.partition('-that')[0]}")
        self.asked = asked.header("range")
        wanted = self.asked or ("bytes=1-" if case.insists else None)
        piece = _piece(wanted, size)
        self.status = 200
        if piece is not None:
            self.status = 206
            body = body[piece[0] : piece[1] + 1]
            headers.append(f"Content-Range: bytes {piece[0]}-{piece[1]}/{size}")
        self.sent = body
        told = "206 Partial Content" if piece else "200 OK"
        pieces = _cut(body, case.cuts)
        if case.shape == "chunked" and piece is None:
            await send_chunked(writer, pieces, *headers)
            return
        close = case.shape == "close"
        headers.append("Connection: close" if close else f"Content-Length: {len(body)}")
        writer.write("\r\n".join([f"HTTP/1.1 {told}", *headers, "", ""]).encode())
        for part in pieces:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if close:
            writer.close()


def _piece(wanted: str | None, size: int) -> tuple[int, int] | None:
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if found is None or found.groups() == ("", "") or size == 0:
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size - 1
    first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    return (first, last) if first <= last and first < size else None


def _cut(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(body) + 1) for cut in cuts})
    edges = [0, *places, len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dangerous = draw(st.booleans())
    size = draw(SIZES)
    decoded = (
        program(size, draw(st.integers(0, 10**9)))
        if dangerous
        else prose(size) + draw(st.binary(max_size=40))
    )
    encoding = draw(st.sampled_from(list(ENCODERS)))
    kind = draw(
        st.sampled_from(["application/octet-stream", "text/plain", "image/png", "application/x-msdownload"])
    )
    listed = draw(st.sampled_from([None, "raw", "decoded"]))
    if encoding == "br-that-is-not":
        listed = "raw" if listed else None
    return Case(
        body=ENCODERS[encoding](decoded),
        decoded=decoded,
        kind=kind,
        encoding=encoding,
        shape=draw(st.sampled_from(["length", "chunked", "close"])),
        cuts=draw(st.lists(st.integers(0, 2_000_000), max_size=12)),
        wanted=draw(RANGES),
        insists=draw(st.integers(0, 5)) == 0,
        listed=listed,
        risky=kind in {"application/x-msdownload", "application/octet-stream"}
        or (dangerous and size > 1 and encoding != "br-that-is-not"),
    )


def _fetch(proxy: RunningProxy, origin: Origin, case: Case, name: str) -> tuple[int, bytes, bool, str | None]:
    """Give the status, the body, whether the response was seen to be whole, and our mark on it."""
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    try:
        headers = {"Range": case.wanted} if case.wanted is not None else {}
        client.request("GET", f"http://127.0.0.1:{origin.port}/{name}", headers=headers)
        response = client.getresponse()
        mark = response.getheader("x-second-look")
        try:
            return response.status, response.read(), True, mark
        except http.client.IncompleteRead as error:
            return response.status, error.partial, False, mark
    finally:
        client.close()


@pytest.fixture
def small_holds(make_proxy: Callable[..., RunningProxy]) -> RunningProxy:
    """A proxy that holds little, so that tails are withheld from small files too."""
    return make_proxy(downloads={"hold_up_to": 100_000, "archives": False})


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def origin(teller: Teller, make_origin: Callable[..., Origin]) -> Origin:
    return make_origin(teller.reply)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_all_of_it_or_never_the_whole(
    small_holds: RunningProxy, gatekeeper: FakeGatekeeper, teller: Teller, origin: Origin, case: Case
) -> None:
    teller.case = case
    gatekeeper.bad.clear()
    gatekeeper.seen.clear()
    if case.listed is not None:
        form = case.body if case.listed == "raw" else case.decoded
        gatekeeper.bad.add(hashlib.sha256(form).hexdigest())
    status, got, whole, mark = _fetch(small_holds, origin, case, f"thing{next(teller.names)}")
    if mark is not None:
        assert case.listed is not None, "only a listed body is refused"
        assert case.body not in got or len(case.body) < 64
    elif case.listed is not None and not whole:
        assert len(got) < len(case.body)
        assert case.body.startswith(got)
    elif case.listed is not None and case.risky and case.body and len(teller.sent) == len(case.body):
        # what stands for too much is not decoded to its end; policy says what becomes of it
        assert case.listed == "decoded", "a listed file came whole"
        assert "unverifiable" in [how for how, *_ in gatekeeper.seen]
    else:
        assert whole
        _assert_exact(case, teller, status, got)
        if case.risky and teller.status == 206 and _tells(case, teller) and teller.sent != case.body:
            assert [how for how, *_ in gatekeeper.seen].count("unverifiable") == 1


def _assert_exact(case: Case, teller: Teller, status: int, got: bytes) -> None:
    """The client has what the origin sent, or the piece that we cut from it."""
    if status == teller.status and teller.asked in {case.wanted, None}:
        assert got == teller.sent
        return
    if status == 200:  # who asks for a piece may be given the whole (RFC 9110, 14.2)
        assert got == case.body
        return
    piece = _piece(case.wanted, len(case.body))
    assert status == 206
    assert piece is not None
    assert got == case.body[piece[0] : piece[1] + 1]


def _tells(case: Case, teller: Teller) -> bool:
    """Whether a piece can be known as one of a risky file: by its type, or by its first bytes."""
    if case.kind == "application/x-msdownload":
        return True
    return case.encoding is None and len(teller.sent) > 16 and teller.sent.startswith(b"MZ")
