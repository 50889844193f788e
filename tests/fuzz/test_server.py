"""What a server is asked by strangers, by the ASGI interface: query strings, paths and headers of any kind."""

import asyncio
import base64

import pytest
from google.protobuf.message import DecodeError
from hypothesis import strategies as st

from fuzzkit import fuzz, mutated
from secondlook.config.service import LimitsSettings
from secondlook.server.http.app import AppSettings, ServerApp
from secondlook.server.reader import FileReader
from secondlook.wire import safebrowsing_pb2 as pb
from serverkit import full_hash, make_store

PREFIX = full_hash("evil.example/")[:4]
SEARCH = base64.urlsafe_b64encode(pb.SearchHashesRequest(hash_prefixes=[PREFIX]).SerializeToString())
TARGETS = [
    b"/v5/hashes:search?hashPrefixes=" + base64.urlsafe_b64encode(PREFIX) + b"&key=K&alt=json",
    b"/v5/hashes:search?$req=" + SEARCH + b"&$ct=application/x-protobuf",
    b"/v5/hashLists:batchGet?names=mw-8b&names=se-4b&version=&sizeConstraints.maxUpdateEntries=1024",
    b"/v5/hashLists:batchGet?$req=CgVzZS00YgoIbWNyeC0xNmIKBnV3cy00YgoGbXdiLTRiCgViaS00YgoFbXctNGI=",
    b"/v5/hashList/mw-8b?alt=json&private=1&version=AAAA",
    b"/v5/hashLists?pageSize=5&pageToken=mw-8b",
    b"/v5/urls:search?urls=http%3A%2F%2Fevil.example%2F&urls=a",
    b"/published/current.json?x",
    b"/healthz",
]
REFUSALS = {400, 403, 404, 405, 413, 414, 503}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("fuzzed"), ["evil.example", "other.example"])
    reader = FileReader(store)
    asyncio.run(reader.refresh())
    return ServerApp(reader, AppSettings(limits=LimitsSettings(requests=1e9, burst=1 << 30)))


def ask(app, target: bytes, method: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Make a request as a listening server would hand it over; gives status and body."""
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path.decode("utf-8", "replace"), "raw_path": path, "query_string": query, "root_path": "",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent)


@fuzz(
    target=mutated(TARGETS),
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST"]),
    accept=st.sampled_from([b"*/*", b"application/json", b"\xff,;q=x", b""]),
)
def test_requests_of_strangers(app, target, method, accept):
    """Whatever is asked, the answer is one that the protocol knows: never a fault of the server."""
    status, body = ask(app, target, method, [(b"accept", accept), (b"host", b"a")])
    assert status == 200 or status in REFUSALS, (status, body)
    if status == 200 and target.startswith(b"/v5/hashes:search?") and body[:1] != b"{":
        pb.SearchHashesResponse.FromString(body)


@fuzz(request=mutated([pb.SearchHashesRequest(hash_prefixes=[PREFIX, bytes(4)]).SerializeToString()]))
def test_searches(app, request):
    """A search that can be read is answered with hashes of the prefixes asked for, or refused."""
    query = base64.urlsafe_b64encode(request)
    status, body = ask(app, b"/v5/hashes:search?$req=" + query, "GET", [])
    assert status in {200, 400}
    if status == 200:
        try:
            asked = set(pb.SearchHashesRequest.FromString(request).hash_prefixes)
        except DecodeError:
            asked = set()
        found = pb.SearchHashesResponse.FromString(body).full_hashes
        assert {each.full_hash[:4] for each in found} <= asked
