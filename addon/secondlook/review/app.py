"""The review page as one ASGI application."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from secondlook.agent.signin import RefusedPasswords
from secondlook.config.own_hosts import certified_names
from secondlook.core.url.address import bracketed
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError
from secondlook.review.access import ANY_ADDRESS, HEALTH_PATH, METRICS_PATH, Gate
from secondlook.review.api.api import create_api
from secondlook.review.operations.operations import Operations
from secondlook.review.operations.refused import Missing, Refused
from secondlook.review.pages.client_pages import ClientPages
from secondlook.review.pages.frame import BAD_REQUEST, NOT_FOUND, Frame
from secondlook.review.pages.log_pages import LogPages
from secondlook.review.pages.pages import Pages
from secondlook.review.pages.render import PAGES, page
from secondlook.review.pages.rule_pages import RulePages
from secondlook.review.pages.settings_pages import SettingsPages
from secondlook.review.pages.sign_in import sign_in_routes
from secondlook.review.session import Doorkeeper, session_of

METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 (recognized, not bound)
STATIC = Path(__file__).parent / "static"


def host_names(host: str, port: int, certificate: bytes | None = None) -> list[str]:
    """Return the `Host` headers that a page bound to this address answers to.

    With TLS also the names that its certificate (PEM) gives it. One bound to every address answers to any
    address (`access.ANY_ADDRESS`): a rebound name is a name, never an address.
    """
    names = {"127.0.0.1", "[::1]", "localhost"} if host in ("127.0.0.1", "::1", "localhost") else set()
    names.add(bracketed(host))
    if host in EVERY_ADDRESS:
        names.add(ANY_ADDRESS)
    if certificate is not None:
        names.update(map(bracketed, certified_names(certificate)))
    with_port = [f"{name}:{port}" for name in sorted(names)]
    # Browsers leave the usual port out.
    return with_port + sorted(names) if port == (80 if certificate is None else 443) else with_port


def create_app(
    operations: Operations,
    doorkeeper: Doorkeeper,
    *,
    hosts: Iterable[str],
    clock: Clock,
    not_ready: Callable[[], str | None] = lambda: None,
) -> ASGIApp:
    """Make the application; `hosts` are the `Host` headers it answers to (`host_names`).

    `not_ready` returns in words what keeps the proxy from protecting.
    """
    frame = Frame(operations)
    failures = _Failures(frame)
    passwords = RefusedPasswords(operations.ledger.recorder.record, clock, "the review page")

    async def alive(_request: Request) -> Response:
        why = not_ready()
        return PlainTextResponse("ok\n") if why is None else PlainTextResponse(f"not ready: {why}\n", 503)

    async def metrics(_request: Request) -> Response:
        return Response(await run_in_threadpool(operations.program.metrics), media_type=METRICS_TYPE)

    app = Starlette(
        routes=[
            Route(HEALTH_PATH, alive),
            Route(METRICS_PATH, metrics),
            *sign_in_routes(doorkeeper, passwords.note, clock.monotonic),
            *Pages(frame).routes(),
            *LogPages(frame).routes(),
            *ClientPages(frame).routes(),
            *RulePages(frame).routes(),
            *SettingsPages(frame).routes(),
            Mount("/api/v1", _Later(lambda: create_api(operations))),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={
            HTTPException: failures.not_there,
            Refused: failures.refused,
            LedgerError: failures.ledger_away,
            Exception: failures.failed,
        },
    )
    app.router.redirect_slashes = False  # without its slash a page is not there, as everywhere
    return Gate(app, doorkeeper=doorkeeper, hosts=hosts)


class _Later:
    """An application that is made when it is first asked: 0.08 s that few proxies need at their start."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._making:
            if self._app is None:
                self._app = await run_in_threadpool(self._make)
            app = self._app
        await app(scope, receive, send)


class _Failures:
    """What is answered in place of a page that cannot be shown, by kind of error."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def not_there(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else "something went wrong"
        if status == NOT_FOUND:
            detail = "Nothing is at this address. The menu leads to everything there is."
        if session_of(request) is None:
            return PlainTextResponse(f"{detail}\n", status_code=status)
        return await self._frame.refuse(request, LookupError(detail), status)

    async def refused(self, request: Request, error: Exception) -> Response:
        status = NOT_FOUND if isinstance(error, Missing) else BAD_REQUEST
        return await self._frame.refuse(request, error, status)

    async def ledger_away(self, request: Request, error: Exception) -> Response:
        return _without_frame(request, 503, "The ledger does not answer", str(error))

    async def failed(self, request: Request, _error: Exception) -> Response:
        detail = (
            "This page could not be made. The reason is in the proxy's output. The other pages still work."
        )
        return _without_frame(request, 500, "Something went wrong here", detail)


def _without_frame(request: Request, status: int, title: str, detail: str) -> Response:
    """Make an error page without what stands around every page: that asks the ledger too."""
    return page(request, "error.html", status=status, title=title, detail=detail, back=PAGES[0])
