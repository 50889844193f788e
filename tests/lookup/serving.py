"""Real servers on loopback: one that speaks Safe Browsing v5 truthfully, and can be told to fail in every way."""

import asyncio
import base64
import contextlib
import hashlib
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from secondlook.lookup.failure import ServerFailure
from secondlook.wire import safebrowsing_pb2 as pb

PROTOBUF = "application/x-protobuf"


def full_hash(text):
    return hashlib.sha256(text.encode()).digest()


class V5Server:
    """Answers hashes:search from `listed` (full hash -> list of FullHashDetail); `behave` names its mood."""

    def __init__(self, *, tls=None):
        self.listed = {}
        self.behave = "answer"
        self.delay_s = 0.0
        self.gate = None  # an event that every answer waits for
        self.cache_s = 60
        self.retry_after = None
        self.asked = []  # one list of prefixes for each search
        self.requests = []  # (target, headers)
        self.connections = 0
        self.asking = {}  # prefix -> requests that ask for it right now
        self.overlaps = 0
        self.port = 0
        self.lists = {}  # name -> HashList
        self.health = b"ok generation=000012"
        self._tls = tls
        self._server = None
        self._writers = set()

    @property
    def url(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def list(self, text, threat=1, **detail):
        attributes = detail.pop("attributes", ())
        entry = pb.FullHash.FullHashDetail(threat_type=threat, attributes=attributes, **detail)
        self.listed.setdefault(full_hash(text), []).append(entry)
        return full_hash(text)

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        """Refuse from now on: close the listening socket and every connection."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, OSError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    first, *lines = head.split("\r\n")
                    headers = dict(line.lower().split(": ", 1) for line in lines if line)
                    target = first.split(" ")[1]
                    self.requests.append((target, headers))
                    if not await self._answer(target, writer):
                        break
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, target, writer):
        prefixes = self._prefixes(target)
        for prefix in prefixes:
            self.asking[prefix] = self.asking.get(prefix, 0) + 1
            self.overlaps += self.asking[prefix] > 1
        try:
            return await self._behave(target, prefixes, writer)
        finally:
            for prefix in prefixes:
                self.asking[prefix] -= 1

    async def _behave(self, target, prefixes, writer):  # noqa: C901, PLR0912 - one case for each mood
        mood = self.behave
        if callable(mood):
            mood = mood(target)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.gate is not None:
            await self.gate.wait()
        match mood:
            case "hang":
                await asyncio.sleep(3600)
            case "close":
                return False
            case "cut":
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 500\r\n\r\nshort"
                )
                await writer.drain()
                return False
            case "noise":
                writer.write(b"\x00\xffthis is not HTTP\r\n\r\n")
                await writer.drain()
                return False
            case int():
                extra = "" if self.retry_after is None else f"retry-after: {self.retry_after}\r\n"
                self._write(writer, mood, b"no", "text/plain", extra)
            case "html":
                self._write(writer, 200, b"<html>Log in to the hotel</html>", "text/html")
            case "garbage":
                self._write(writer, 200, b"\xff\xff\xff\xff garbage", PROTOBUF)
            case "no_duration":
                self._write(writer, 200, b"", PROTOBUF)
            case "huge":
                self._write(writer, 200, b"\0" * (5 << 20), PROTOBUF)
            case "endless":
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                while True:
                    writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                    await writer.drain()
            case "gzip":
                self._write(writer, 200, b"\x1f\x8b", PROTOBUF, "content-encoding: gzip\r\n")
            case "answer" | "unasked" | "short_hash":
                self._write(writer, 200, self._body(target, prefixes, mood), PROTOBUF)
            case other:
                raise AssertionError(other)
        await writer.drain()
        return True

    def _body(self, target, prefixes, mood):
        path = unquote(urlsplit(target).path)
        query = dict(parse_qsl(urlsplit(target).query))
        if path == "/healthz":
            return self.health
        if path == "/v5/hashLists:batchGet":
            request = pb.BatchGetHashListsRequest.FromString(base64.urlsafe_b64decode(query["$req"]))
            return pb.BatchGetHashListsResponse(
                hash_lists=[self.lists[name] for name in request.names]
            ).SerializeToString()
        if path.startswith("/v5/hashList/"):
            return self.lists[path.removeprefix("/v5/hashList/")].SerializeToString()
        if path == "/v5/hashLists":
            names = sorted(self.lists)
            at = int(query.get("pageToken", 0))
            more = str(at + 2) if at + 2 < len(names) else ""
            found = [pb.HashList(name=name) for name in names[at : at + 2]]
            return pb.ListHashListsResponse(hash_lists=found, next_page_token=more).SerializeToString()
        self.asked.append(prefixes)
        answer = pb.SearchHashesResponse()
        answer.cache_duration.seconds = self.cache_s
        for digest, details in self.listed.items():
            if digest[:4] in prefixes or mood == "unasked":
                answer.full_hashes.add(full_hash=digest, full_hash_details=details)
        if mood == "short_hash":
            answer.full_hashes.add(full_hash=prefixes[0] + b"too short")
        return answer.SerializeToString()

    @staticmethod
    def _prefixes(target):
        if not target.startswith("/v5/hashes:search"):
            return []
        query = dict(parse_qsl(urlsplit(target).query))
        return list(pb.SearchHashesRequest.FromString(base64.urlsafe_b64decode(query["$req"])).hash_prefixes)

    @staticmethod
    def _write(writer, status, body, kind, extra=""):
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{extra}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)


async def until(condition, *, timeout_s=30.0):
    """Wait until something becomes true, looking at each turn of the loop (bounded; a test fails, never hangs)."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


async def failure_of(work):
    """Return how a question fails, which has to."""
    with pytest.raises(ServerFailure) as caught:
        await work
    return caught.value
