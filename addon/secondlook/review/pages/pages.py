"""The pages of the review, apart from log and rules: each shows what the operations return."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from secondlook.review import words
from secondlook.review.operations.late_verdicts import named
from secondlook.review.operations.refused import Refused
from secondlook.review.operations.statistics import USUAL
from secondlook.review.pages.chart import chart
from secondlook.review.pages.frame import NOTHING_TYPED, Handlers, back_to, local_path
from secondlook.review.pages.render import NO_FAULTS, query_string

QUEUE_PAGE = 100
CLOSINGS = 50


class Pages(Handlers):
    """Handlers of the pages."""

    async def overview(
        self,
        request: Request,
        typed: Mapping[str, str] = NOTHING_TYPED,
        faults: Mapping[str, str] = NO_FAULTS,
    ) -> Response:
        """Show whether protection is on and what needs attention."""
        client = request.query_params.get("client", "").strip() or None
        figures = await self.operations.statistics(request.query_params.get("range") or USUAL, client)
        return await self.frame.show(
            request,
            "overview.html",
            typed=typed,
            faults=faults,
            o=await self.operations.overview(client),
            s=figures,
            chart=chart(figures["bars"]),
        )

    async def pause(self, request: Request) -> Response:
        """Pause protection for everybody."""
        minutes = str((await request.form()).get("minutes", "")).strip()
        try:
            await self.operations.pause(float(minutes), None)
        except ValueError:
            fault = "expected a number of minutes"
            return await self.overview(request, {"minutes": minutes}, {"minutes": fault})
        except Refused as error:
            return await self.overview(request, {"minutes": minutes}, {"minutes": str(error)})
        return back_to("/", "paused")

    async def resume(self, request: Request) -> Response:
        """End every pause, or those of the client that the form names."""
        form = await request.form()
        await self.operations.resume(str(form["client"]) if "client" in form else None)
        return back_to("/", "resumed")

    async def flagged(self, request: Request) -> Response:
        """Show what waits for a second look, and how earlier ones ended."""
        entries, cursor = await self.operations.queue(request.query_params.get("after"), QUEUE_PAGE)
        return await self.frame.show(
            request,
            "flagged.html",
            entries=entries,
            waiting=await self.operations.waiting(),
            older=cursor and query_string({"after": cursor}),
            closings=await self.operations.closings(CLOSINGS),
        )

    async def verify(self, _request: Request) -> Response:
        """Look at everything that is flagged now."""
        await self.operations.program.verify()
        return back_to("/flagged", "verifying")

    async def check(self, request: Request) -> Response:
        """Check what was typed or hashed."""
        subject = request.query_params.get("subject", "").strip()
        checked: Mapping[str, object] | None = None
        faults: dict[str, str] = {}
        if subject:
            try:
                checked = await self.operations.check(subject)
            except Refused as error:
                faults["subject"] = str(error)
        return await self.frame.show(
            request,
            "check.html",
            faults=faults,
            subject=subject,
            c=checked,
            sentence=words.sentence(checked, asked=True, titles=await self.operations.titles())
            if checked
            else "",
        )

    async def quarantine(self, request: Request) -> Response:
        """List the quarantined files."""
        here = self.operations.program.shared_as
        files = [
            file | {"elsewhere": here is not None and file["proxy"] not in {None, here}}
            for file in await self.operations.quarantine()
        ]
        return await self.frame.show(request, "quarantine.html", files=files)

    async def quarantine_act(self, request: Request) -> Response:
        """Restore or delete a quarantined file."""
        action = request.path_params["action"]
        act = self.operations.restore if action == "restore" else self.operations.delete_quarantined
        await act(request.path_params["id"])
        return back_to("/quarantine", "restored" if action == "restore" else "deleted")

    async def lists(self, request: Request) -> Response:
        """Show lists, servers and feeds."""
        return await self.frame.show(
            request,
            "lists.html",
            lists=await self.operations.lists(),
            servers=self.operations.program.servers(),
            location=self.operations.program.location(),
            feeds=await self.operations.feeds(),
            rolled_back=await self.operations.rolled_back(),
            passages=await self.operations.passages(),
        )

    async def update(self, request: Request) -> Response:
        """Fetch the lists now; by another button also what a rollback gave up."""
        await self.operations.program.update(force="force" in await request.form())
        return back_to("/lists", "updating")

    async def setup(
        self,
        request: Request,
        typed: Mapping[str, str] = NOTHING_TYPED,
        faults: Mapping[str, str] = NO_FAULTS,
    ) -> Response:
        """Show how to use the proxy."""
        return await self.frame.show(
            request,
            "setup.html",
            typed=typed,
            faults=faults,
            **await self.operations.setup(),
        )

    async def erase(self, request: Request) -> Response:
        """Delete what was kept of one client."""
        client = str((await request.form()).get("client", ""))
        try:
            await self.operations.erase_client(client)
        except Refused as error:
            return await self.setup(request, {"client": client}, {"client": str(error)})
        return back_to("/setup", "erased")

    async def authority(self, request: Request) -> Response:
        """Hand out the certificate of the authority (never its key)."""
        try:
            pem = await self.operations.authority()
        except Refused as error:
            return await self.frame.refuse(request, error, 503)
        return PlainTextResponse(
            pem,
            media_type="application/x-pem-file",
            headers={"content-disposition": 'attachment; filename="second-look-ca.pem"'},
        )

    async def late(self, request: Request) -> Response:
        """List the late verdicts, those that the reader has not noted first."""
        return await self.frame.show(
            request,
            "late.html",
            fresh=await self.operations.late.fresh(),
            noted=await self.operations.late.noted(),
            named=named,
        )

    async def note_late(self, request: Request) -> Response:
        """Take note of one late verdict, or of one and all before it."""
        form = await request.form()
        if "id" in request.path_params:
            await self.operations.late.note(request.path_params["id"])
        elif not await self.operations.late.note_all(str(form.get("newest") or "")):
            return back_to("/late")
        return back_to(local_path(str(form.get("back") or ""), "/late"), "seen")

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        return [
            Route("/", self.overview),
            Route("/pause", self.pause, methods=["POST"]),
            Route("/resume", self.resume, methods=["POST"]),
            Route("/flagged", self.flagged),
            Route("/flagged/verify", self.verify, methods=["POST"]),
            Route("/check", self.check),
            Route("/quarantine", self.quarantine),
            Route("/quarantine/{id}/{action}", self.quarantine_act, methods=["POST"]),
            Route("/lists", self.lists),
            Route("/lists/update", self.update, methods=["POST"]),
            Route("/setup", self.setup),
            Route("/clients/erase", self.erase, methods=["POST"]),
            Route("/ca.pem", self.authority),
            Route("/late", self.late),
            Route("/late/seen", self.note_late, methods=["POST"]),
            Route("/late/{id}/seen", self.note_late, methods=["POST"]),
        ]
