"""The API under `/api/v1`: everything the pages do, as JSON; OpenAPI at `/api/v1/openapi.json`."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from secondlook.review.api.log_api import late_routes, log_routes, log_text_routes
from secondlook.review.api.problem import catch_errors
from secondlook.review.api.record import Problem
from secondlook.review.api.rule_api import rule_routes
from secondlook.review.api.settings_api import settings_routes
from secondlook.review.api.status_api import data_routes, protection_routes
from secondlook.review.operations.operations import Operations
from secondlook.review.session import COOKIE

SIGNED_IN = {
    "token": {"type": "http", "scheme": "bearer", "description": "`token` of run.json"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "of a signed-in browser; what changes something needs X-CSRF-Token too",
    },
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}}
    for status in (400, 401, 403, 404, 422, 503)
}


def create_api(operations: Operations) -> FastAPI:
    """Make the API over the operations."""
    api = FastAPI(
        title="Second Look",
        version=version("secondlook"),
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
        redirect_slashes=False,
    )
    routes: list[BaseRoute] = []
    catch_errors(api, routes)
    for part in (
        log_text_routes,
        log_routes,
        late_routes,
        rule_routes,
        protection_routes,
        data_routes,
        settings_routes,
    ):
        router = APIRouter()
        part(router, operations)
        api.include_router(router)
        routes += router.routes
    _document(api)
    return api


def _document(api: FastAPI) -> None:
    """Describe in the document how one signs in; the gate before the API sees to it."""
    written = api.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        document["components"]["securitySchemes"] = SIGNED_IN
        document["security"] = [{name: []} for name in SIGNED_IN]
        return document

    api.openapi = openapi  # type: ignore[method-assign]
