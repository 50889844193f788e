"""The one error shape of the API (RFC 9457)."""

import json
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from secondlook.ground.errors import LedgerError
from secondlook.review.filters import UnusableFilterError
from secondlook.review.operations.refused import Missing, Refused


def problem(status: int, title: str, detail: str) -> JSONResponse:
    """Return an error as `application/problem+json`."""
    return JSONResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": detail},
        status_code=status,
        media_type="application/problem+json",
    )


def catch_errors(api: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Have every error of the API answered in the one shape; `routes` are all there are."""

    @api.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "unusable request", "; ".join(_complaints(error)))

    @api.exception_handler(UnusableFilterError)
    async def unusable(_request: Request, error: UnusableFilterError) -> JSONResponse:
        return problem(400, "unusable filter", str(error))

    @api.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> JSONResponse:
        return problem(404 if isinstance(error, Missing) else 400, "refused", str(error))

    @api.exception_handler(LedgerError)
    async def away(_request: Request, error: LedgerError) -> JSONResponse:
        return problem(503, "the ledger does not answer", str(error))

    @api.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        answer = problem(error.status_code, "refused", str(error.detail))
        answer.headers.update(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["allow"] = ", ".join(_methods(routes, request.scope))
        return answer


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """Name what may be asked at a path: each method has a route of its own, and the router names one."""
    found: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


def _complaints(error: RequestValidationError) -> Iterator[str]:
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        got = json.dumps(fault.get("input"), default=str)[:80]
        yield f"{where}: {fault['msg'].lower()}, got {got}"
