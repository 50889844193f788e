"""Smart Protection Servers on a fake wire: real protobuf over httpx, from servers that lie in every way."""

import asyncio
import base64
from collections.abc import Callable

import httpx

from secondlook.core.answer import Tier
from secondlook.wire import safebrowsing_pb2 as pb

MODES = (
    "up", "down", "hang", "slow", "status_500", "too_many", "html", "bad_protobuf", "cut_off",
    "no_duration", "wrong_prefix", "short_hash",
)  # fmt: skip
DURATION_S = {False: 60, True: 300}
PROTOBUF = httpx.Headers([(b"content-type", b"application/x-protobuf")])


class Server:
    """A Smart Protection Server on the fake wire."""

    def __init__(self, name: str, tier: Tier) -> None:
        self.name = name
        self.tier = tier
        self.mode = "up"
        self.listed: dict[bytes, float] = {}  # full hash: since when (monotonic)

    async def answer(self, target: str) -> httpx.Response:
        if self.mode == "down":
            raise httpx.ConnectError("refused")
        await asyncio.sleep({"hang": 3600.0, "slow": 0.7}.get(self.mode, 0.002))
        match self.mode:
            case "status_500":
                return _response(500, b"")
            case "too_many":
                return _response(429, b"", httpx.Headers([(b"retry-after", b"3")]))
            case "html":
                return _response(
                    200, b"<html>log in first</html>", httpx.Headers([(b"content-type", b"text/html")])
                )
            case "bad_protobuf":
                return _response(200, b"\xff" * 20)
            case "cut_off":
                raise httpx.RemoteProtocolError("cut off")
        if target == "/healthz":
            return _response(200, b"ok generation=1", httpx.Headers([(b"content-type", b"text/plain")]))
        packed = target.partition("?$req=")[2].partition("&")[0]
        asked = list(pb.SearchHashesRequest.FromString(base64.urlsafe_b64decode(packed)).hash_prefixes)
        return _response(200, self._search(asked).SerializeToString())

    def _search(self, asked: list[bytes]) -> pb.SearchHashesResponse:
        message = pb.SearchHashesResponse()
        found = [full for full in self.listed if full[:4] in asked]
        lies = {"wrong_prefix": [b"\xee" * 32], "short_hash": [b"short"]}.get(self.mode, [])
        for full in (*found, *lies):
            message.full_hashes.add(full_hash=full).full_hash_details.add(threat_type=1)
        if self.mode != "no_duration":
            message.cache_duration.seconds = DURATION_S[bool(found)]
        return message


def _response(status: int, body: bytes, headers: httpx.Headers = PROTOBUF) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


class Wire(httpx.AsyncBaseTransport):
    """The way from a process to a server; `must_live` raises when the process has been killed."""

    def __init__(self, server: Server, must_live: Callable[[], None]) -> None:
        self._server = server
        self._must_live = must_live

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._must_live()
        response = await self._server.answer(request.extensions.get("target", b"/").decode())
        self._must_live()
        return response
