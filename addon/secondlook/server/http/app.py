"""The ASGI application: Safe Browsing v5 on `/v5/…`, `healthz`, `metrics`, and published files for replicas.

`hashes:search` is answered straight from the ASGI scope, since it is nearly all of the traffic;
everything else goes through Starlette. One gate (client token, rate) stands before both.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import random
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from secondlook.config.service import LimitsSettings, PublishSettings
from secondlook.ground.errors import SecondLookError
from secondlook.server.http.access import Balancers, Rate, Tokens
from secondlook.server.http.answer import Answer, error_answer, message_answer
from secondlook.server.http.findings import FindingTaker, take_report
from secondlook.server.http.lists import ListMethods
from secondlook.server.http.published import published_file
from secondlook.server.http.query import parse_query, search_prefixes, wants_json, wants_private
from secondlook.server.http.urls import UrlMethods
from secondlook.server.meter import Meter
from secondlook.server.publish.detail import pack_duration
from secondlook.server.reader import Reader
from secondlook.server.store.store import ServerStore
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadRequest

log = logging.getLogger(__name__)
ADMIN = "/admin"  # has a password of its own, and no token
JITTER = 0.2  # of the cache duration, so that clients do not come back all at once
type AccessLog = Callable[[str, int, int, float, str], None]  # method, status, bytes, seconds, client


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What the application needs to know beside its reader."""

    publish: PublishSettings = field(default_factory=PublishSettings)
    limits: LimitsSettings = field(default_factory=LimitsSettings)
    tokens: tuple[str, ...] = ()
    store: ServerStore | None = None  # its generations can be fetched by replicas
    hidden: frozenset[str] = frozenset()  # lists that are not served
    incomplete: frozenset[str] = frozenset()  # lists of which the server knows more than it publishes
    findings: FindingTaker | None = None  # of what agents report
    admin: ASGIApp | None = None  # the administrator's page
    trouble: Callable[[], str | None] = lambda: None  # of a replica with its publisher
    stale: Callable[[], bool] = lambda: False  # whether nothing came in for long
    store_fault: Callable[[], str | None] = lambda: None  # why it does not take what we have


class ServerApp:
    """A Smart Protection Server as an ASGI application over one reader, which is refreshed elsewhere."""

    def __init__(
        self,
        reader: Reader,
        settings: AppSettings | None = None,
        *,
        meter: Meter | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        settings = settings or AppSettings()
        self.reader = reader
        self.meter = meter or Meter()
        self.limits = settings.limits
        self._settings = settings
        self._tokens = Tokens(settings.tokens)
        self._search_fault: str | None = None
        self._balancers = Balancers(settings.limits.balancers)
        self.is_balancer = self._balancers.is_ours
        self._rate = Rate(settings.limits.requests, settings.limits.burst)
        self._access_log = access_log
        self._duration = (settings.publish.not_listed_for, settings.publish.listed_for)
        lists = ListMethods(reader, self.meter, settings.publish, settings.hidden, settings.incomplete)
        urls = UrlMethods(reader, self._cache_duration)
        self._rest = Starlette(
            routes=[
                Route("/", self._about),
                Route("/v5/hashList/{name}", self._method(lists.get)),
                Route("/v5/hashLists:batchGet", self._method(lists.batch_get)),
                Route("/v5/hashLists", self._method(lists.index)),
                Route("/v5/urls:search", self._method(urls.search)),
                Route("/healthz", self._healthz),
                Route("/metrics", self._metrics),
                Route("/published/{path:path}", self._published),
                Route("/findings", self._findings, methods=["POST"]),
            ],
            exception_handlers={404: self._not_served, 405: self._not_served},
        )
        self._rest.router.redirect_slashes = False  # to a host that the client names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        path: str = scope["path"]
        if path == "/healthz":
            await self._rest(scope, receive, send)
            return
        started = time.monotonic()
        is_admin = self._settings.admin is not None and (path == ADMIN or path.startswith(f"{ADMIN}/"))
        refused = self._gate(scope, started, asks_token=not is_admin and path != "/")
        if refused is not None:
            await self._send(send, refused, _short(path), started, scope)
        elif path == "/v5/hashes:search":
            answer = await self._search(scope)
            await self._send(send, answer, "search", started, scope)
            self.meter.took(time.monotonic() - started)
        elif is_admin:
            assert self._settings.admin is not None
            await self._settings.admin(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    def _gate(self, scope: Scope, now: float, *, asks_token: bool) -> Answer | None:
        """Refuse a request without a token where one is asked for, or one too many of its address."""
        wait = self._rate.wait(self._client(scope), now)
        if wait:
            answer = _error(scope, 429, "too many requests from this address")
            return replace(answer, headers=((b"retry-after", str(wait).encode()),))
        if (
            asks_token
            and self._tokens
            and not self._tokens.admits(scope["headers"], parse_query(scope["query_string"]).get(b"key", ()))
        ):
            return _error(scope, 403, "a client token is asked for here")
        return None

    async def _search(self, scope: Scope) -> Answer:
        """Answer `hashes:search`."""
        if scope["method"] != "GET":
            return _error(scope, 405, _WRONG_METHOD)
        try:
            prefixes, fields = search_prefixes(scope["query_string"], self._settings.limits.prefixes)
        except BadRequest as error:
            return _error(scope, 400, str(error))
        if self.reader.number is None:
            return _error(scope, 503, "nothing is published here yet")
        try:
            packed, count = await self.reader.search(prefixes)
        except SecondLookError as error:
            if str(error) != self._search_fault:  # not once for every search
                log.warning("cannot search: %s", error)
            self._search_fault = str(error)
            return _error(scope, 503, "the server's data cannot be read")
        self._search_fault = None
        self.meter.prefixes += len(prefixes)
        self.meter.listed += count
        body = packed + pack_duration(self._cache_duration(count > 0))
        if wants_json(fields, _accept(scope)):
            return message_answer(
                pb.SearchHashesResponse.FromString(body), as_json=True, private=wants_private(fields)
            )
        return Answer(200, body)

    def _cache_duration(self, listed: bool) -> int:
        """Return the seconds for which an answer may be kept."""
        return max(1, round(self._duration[listed] * (1 - JITTER * random())))  # noqa: S311 - jitter

    def _method(self, method: Any) -> Callable[[Request], Any]:
        """Make an endpoint of a method that takes fields and gives a message."""

        async def endpoint(request: Request) -> Response:
            started = time.monotonic()
            fields = parse_query(request.scope["query_string"])
            as_json = wants_json(fields, _accept(request.scope))
            try:
                answer = await method(fields, as_json=as_json, **request.path_params)
            except BadRequest as error:
                answer = error_answer(400, str(error), as_json=as_json)
            except KeyError as error:
                answer = error_answer(404, f"no list is called {error.args[0]}", as_json=as_json)
            except SecondLookError as error:
                log.warning("cannot answer %s: %s", method.__name__, error)
                answer = error_answer(503, "the server's data cannot be read", as_json=as_json)
            self._note(method.__name__, answer, started, request.scope)
            return Response(answer.body, answer.status, dict(_HEADERS), answer.media_type)

        return endpoint

    async def _about(self, _: Request) -> Response:
        """Say what this is to whoever opens its address in a browser."""
        admin = f"\nFindings are decided at {ADMIN}.\n" if self._settings.admin is not None else ""
        return Response(_ABOUT + admin, headers=dict(_HEADERS), media_type="text/plain")

    async def _healthz(self, _: Request) -> Response:
        number = self.reader.number
        if number is None:
            return Response("nothing to serve\n", 503, media_type="text/plain")
        if not self.reader.readable:
            return Response(f"{self.reader.trouble}\n", 503, media_type="text/plain")
        lines = (f"ok generation={number}", self.reader.trouble, self._settings.trouble())
        return Response("".join(f"{line}\n" for line in lines if line), media_type="text/plain")

    async def _metrics(self, _: Request) -> Response:
        self.meter.gauges["generation"] = self.reader.number or 0
        self.meter.gauges["generation_created_timestamp_seconds"] = self.reader.created_at
        self.meter.gauges["store_trouble"] = float(
            (self.reader.trouble or self._settings.store_fault()) is not None
        )
        self.meter.gauges["stale"] = float(self._settings.stale())
        self.meter.gauges["entries"] = sum(entry.count for entry in self.reader.lists.values())
        return Response(self.meter.text(), media_type="text/plain; version=0.0.4")

    async def _not_served(self, request: Request, fault: Exception) -> Response:
        """Answer for a path, or a method on one, that the server does not have."""
        assert isinstance(fault, HTTPException)
        text = "nothing is served under this path" if fault.status_code == 404 else _WRONG_METHOD  # noqa: PLR2004
        answer = _error(request.scope, fault.status_code, text)
        self._note("other", answer, time.monotonic(), request.scope)
        headers = {**dict(_HEADERS), **(fault.headers or {})}
        return Response(answer.body, answer.status, headers, answer.media_type)

    async def _published(self, request: Request) -> Response:
        started = time.monotonic()
        response = await published_file(self._settings.store, request)
        self._note("published", Answer(response.status_code, b""), started, request.scope)
        return response

    async def _findings(self, request: Request) -> Response:
        started = time.monotonic()
        address = self._client(request.scope)
        try:
            answer = await take_report(
                self._settings.findings, request, address, has_token=bool(self._tokens)
            )
        except SecondLookError as error:
            log.warning("cannot take a report of %s: %s", address, error)
            answer = error_answer(503, "the findings cannot be kept now", as_json=True)
        self._note("findings", answer, started, request.scope)
        return Response(answer.body, answer.status, dict(_HEADERS), answer.media_type)

    async def _send(self, send: Send, answer: Answer, method: str, started: float, scope: Scope) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (b"content-type", answer.media_type.encode()),
                    (b"content-length", b"%d" % len(answer.body)),
                    *_RAW_HEADERS,
                    *answer.headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})
        self._note(method, answer, started, scope)

    def _note(self, method: str, answer: Answer, started: float, scope: Scope) -> None:
        self.meter.requests[method, answer.status] += 1
        if self._access_log:
            took = time.monotonic() - started
            self._access_log(method, answer.status, len(answer.body), took, self._client(scope))

    def _client(self, scope: Scope) -> str:
        """Return the address of who asks; empty where the connection has none."""
        peer = scope.get("client")
        return self._balancers.client(peer[0], scope["headers"]) if peer else ""


_ABOUT = """\
This is a Smart Protection Server of Second Look.

Proxies ask it which addresses and files are known to be bad (Safe Browsing v5, under /v5/).
How it is doing: /healthz in a word; in full the command `server status` on its machine.
"""
_WRONG_METHOD = "every method is a GET, except for /findings"
_HEADERS = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
_RAW_HEADERS = tuple((name.encode(), value.encode()) for name, value in _HEADERS)


def _accept(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"accept":
            accepted: bytes = value
            return accepted
    return b""


def _is_json(scope: Scope) -> bool:
    return wants_json(parse_query(scope["query_string"]), _accept(scope))


def _error(scope: Scope, status: int, text: str) -> Answer:
    """Return an error in the form asked for: browsers, which would save the others as a file, get text."""
    if b"text/html" in _accept(scope):
        return Answer(status, f"{text[:1].upper()}{text[1:]}.\n".encode(), "text/plain; charset=utf-8")
    return error_answer(status, text, as_json=_is_json(scope))


def _short(path: str) -> str:
    """Name a method for the counters; a path that is none of ours must not make a label of its own."""
    known = {"/v5/hashes:search": "search", "/v5/hashLists:batchGet": "batch_get", "/v5/hashLists": "index"}
    return known.get(path, "other")
