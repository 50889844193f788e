"""The settings page: feeds, policy and groups; each change is shown as a difference before it is written."""

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from secondlook.review.operations.refused import Refused
from secondlook.review.pages.frame import NOTHING_TYPED, Handlers
from secondlook.review.pages.render import NO_FAULTS, query_string

CONFLICT = 409
NOT_VALUES = frozenset({"csrf", "what", "digest"})
"""Fields of a form that are no values of the change."""


class SettingsPages(Handlers):
    """Handlers of the settings page."""

    async def show(
        self,
        request: Request,
        what: str = "",
        typed: Mapping[str, str] = NOTHING_TYPED,
        faults: Mapping[str, str] = NO_FAULTS,
        tried: Mapping[str, Any] | None = None,
    ) -> Response:
        """Show the forms; `what` is the one that was sent, `typed` what stood in it."""
        try:
            facts = await run_in_threadpool(self.editor.facts)
        except Refused as error:
            return await self.frame.show(
                request, "settings.html", facts=None, why=str(error), what="", typed={}, tried=None
            )
        return await self.frame.show(
            request, "settings.html", facts=facts, what=what, typed=typed, faults=faults, tried=tried
        )

    async def try_feed(self, request: Request) -> Response:
        """Fetch and read a feed; nothing is kept."""
        _, values, _ = await _sent(request)
        try:
            tried = await self.editor.try_feed(values)
        except Refused as error:
            return await self.show(request, "add-feed", values, error.faults)
        return await self.show(request, "add-feed", values, tried=tried)

    async def preview(self, request: Request) -> Response:
        """Show what a change does to the file."""
        what, values, _ = await _sent(request)
        return await self._preview(request, what, values)

    async def _preview(
        self,
        request: Request,
        what: str,
        values: Mapping[str, str],
        status: int = 200,
        why: str | None = None,
    ) -> Response:
        try:
            made = await run_in_threadpool(self.editor.preview, what, values)
        except Refused as error:
            faults = error.faults
            if why is not None:
                faults = {"": f"{why}. {faults.get('', str(error))}"}
            return await self.show(request, what, values, faults)
        return await self.frame.show(
            request, "settings_preview.html", status=status, made=made, what=what, values=values, why=why
        )

    async def apply(self, request: Request) -> Response:
        """Write a change that was shown, and have it read."""
        what, values, digest = await _sent(request)
        who = request.client.host if request.client else None
        try:
            begun = await run_in_threadpool(self.editor.apply, what, values, digest, who)
        except Refused as error:
            if error.field == "digest":
                return await self._preview(request, what, values, CONFLICT, str(error))
            return await self.show(request, what, values, error.faults)
        return RedirectResponse(f"/settings/outcome?{query_string(begun)}", status_code=303)

    async def outcome(self, request: Request) -> Response:
        """Show whether a change is in force; while it is not, the page asks again by itself."""
        params = request.query_params
        readings = params.get("readings", "0")
        if not readings.isdecimal() or len(readings) > 9:  # noqa: PLR2004 (digits)
            raise Refused("readings: expected a number")
        made = await run_in_threadpool(self.editor.outcome, int(readings), params.get("file", ""))
        return await self.frame.show(request, "settings_outcome.html", made=made)

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        return [
            Route("/settings", self.show),
            Route("/settings/try", self.try_feed, methods=["POST"]),
            Route("/settings/preview", self.preview, methods=["POST"]),
            Route("/settings/apply", self.apply, methods=["POST"]),
            Route("/settings/outcome", self.outcome),
        ]


async def _sent(request: Request) -> tuple[str, dict[str, str], str]:
    """Return which change was sent, its values, and the digest it was shown with."""
    form = {name: str(value) for name, value in (await request.form()).items()}
    values = {name: value for name, value in form.items() if name not in NOT_VALUES}
    return form.get("what", ""), values, form.get("digest", "")
