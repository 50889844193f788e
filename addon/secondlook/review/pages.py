"""The pages of the review, apart from log and rules: each shows what the operations return."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from secondlook.core.display import as_sentence
from secondlook.review import words
from secondlook.review.access import COOKIE, set_session
from secondlook.review.chart import chart
from secondlook.review.late import named, strip
from secondlook.review.operations import Operations, Refused
from secondlook.review.render import NO_FAULTS, PAGES, page, query_string
from secondlook.review.session import Doorkeeper, session_of
from secondlook.review.statistics import USUAL

logger = logging.getLogger(__name__)

QUEUE_PAGE = 100
CLOSINGS = 50
BAD_REQUEST = 400
NOT_FOUND = 404
NOTHING_TYPED: Mapping[str, str] = {}

type Handler = Callable[[Request], Awaitable[Response]]


def back_to(path: str, done: str | None = None, undo: str | None = None) -> RedirectResponse:
    """Answer a form: go to `path`, which shows what was done and offers to undo it."""
    query = query_string({"done": done, "undo": undo})
    joint = "&" if "?" in path else "?"
    return RedirectResponse(path + (joint + query if query else ""), status_code=303)


def local_path(text: str | None, otherwise: str) -> str:
    """Return a path of this site that a form named, or another where it names anything else."""
    if text and text.startswith("/") and not text.startswith(("//", "/\\")):
        return quote(text, safe="/?&=%:+,.-_~")
    return otherwise


class Frame:
    """Puts around every page what all of them show: counts, late verdicts, and what was just done."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations

    async def show(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        faults: Mapping[str, str] = NO_FAULTS,
        **values: object,
    ) -> HTMLResponse:
        """Render a page for a signed-in reader."""
        waiting = await self.operations.waiting()
        fresh = await self.operations.late.fresh()
        undo = request.query_params.get("undo")
        done = request.query_params.get("done")
        flash = None
        if done:
            # Only our own forms' undo is offered: removing a rule that was just made.
            undoable = undo.split(".") if undo and undo.replace(".", "").isalnum() else []
            flash = {
                "kind": "good",
                "text": DONE.get(done, ""),
                "undo": undoable,
                "rules": await self.operations.made(undoable) if undoable else [],
                "back": str(request.url.remove_query_params(["done", "undo"]).replace(scheme="", netloc="")),
            }
        return page(
            request,
            template,
            status=status,
            counts={"/flagged": waiting, "/late": len(fresh)},
            late=strip(fresh) if request.url.path != "/late" else None,
            titles=self.operations.titles(),
            faults=faults,
            flash=flash if flash and flash["text"] else None,
            **values,
        )

    async def refuse(self, request: Request, error: Exception, status: int = 400) -> Response:
        """Show why something could not be done, and the way back to the page where it was tried."""
        section = "/" + request.url.path.split("/")[1]
        back = next((page for page in PAGES if page[0] == section), PAGES[0])
        detail = as_sentence(str(error))
        title = "There is no such page" if status == NOT_FOUND and back == PAGES[0] else "That did not work"
        return await self.show(request, "error.html", status=status, title=title, detail=detail, back=back)


DONE = {
    "allowed": "Allowed. The rule is in force within a second.",
    "blocked": "Blocked. The rule is in force within a second.",
    "removed": "The rule is gone.",
    "imported": "The rules are imported.",
    "paused": "Protection is paused. It comes back by itself.",
    "resumed": "Protection is on again.",
    "verifying": "Every flagged subject is being looked at now.",
    "updating": "The lists are being updated now.",
    "restored": "The file is back where it was, and allowed from now on.",
    "deleted": "The file is deleted.",
    "seen": "Noted.",
    "erased": "Erased: nothing that was kept names this client any more.",
}


class Pages:
    """Handlers of the pages."""

    def __init__(self, operations: Operations, frame: Frame) -> None:
        self.operations = operations
        self.frame = frame

    async def overview(
        self,
        request: Request,
        typed: Mapping[str, str] = NOTHING_TYPED,
        faults: Mapping[str, str] = NO_FAULTS,
    ) -> Response:
        """Show whether protection is on and what needs attention."""
        client = request.query_params.get("client", "").strip() or None
        try:
            figures = await self.operations.statistics(request.query_params.get("range") or USUAL, client)
        except Refused as error:
            return await self.frame.refuse(request, error)
        return await self.frame.show(
            request,
            "overview.html",
            status=BAD_REQUEST if faults else 200,
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
        try:
            await self.operations.resume(str(form["client"]) if "client" in form else None)
        except Refused as error:
            return await self.frame.refuse(request, error)
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
            status=BAD_REQUEST if faults else 200,
            faults=faults,
            subject=subject,
            c=checked,
            sentence=words.sentence(checked, asked=True, titles=self.operations.titles()) if checked else "",
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
        try:
            await act(request.path_params["id"])
        except Refused as error:
            return await self.frame.refuse(request, error)
        return back_to("/quarantine", "restored" if action == "restore" else "deleted")

    async def lists(self, request: Request) -> Response:
        """Show lists, servers and feeds."""
        return await self.frame.show(
            request,
            "lists.html",
            lists=self.operations.program.lists(),
            servers=self.operations.program.servers(),
            location=self.operations.program.location(),
            feeds=self.operations.program.feeds(),
            rolled_back=self.operations.program.rolled_back(),
            passages=await self.operations.passages(),
        )

    async def update(self, request: Request) -> Response:
        """Fetch the lists now; by another button also what a rollback gave up."""
        await self.operations.program.update(force="force" in await request.form())
        return back_to("/lists", "updating")

    async def setup(self, request: Request) -> Response:
        """Show how to use the proxy."""
        return await self._setup(request)

    async def _setup(
        self,
        request: Request,
        typed: Mapping[str, str] = NOTHING_TYPED,
        faults: Mapping[str, str] = NO_FAULTS,
    ) -> Response:
        return await self.frame.show(
            request,
            "setup.html",
            status=BAD_REQUEST if faults else 200,
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
            return await self._setup(request, {"client": client}, {"client": str(error)})
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
        found = await self.operations.late.found()
        return await self.frame.show(
            request,
            "late.html",
            fresh=[each for each in found if not each["seen"]],
            noted=[each for each in found if each["seen"]],
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


def sign_in_routes(
    doorkeeper: Doorkeeper, refused: Callable[[str], None], now: Callable[[], float]
) -> list[Route]:
    """Return the pages that need no session: signing in, and out again; `refused` takes who failed to."""

    async def show(request: Request) -> Response:
        used = "used" in request.query_params
        return page(request, "sign_in.html", error=None, used=used, has_password=doorkeeper.has_password)

    async def sign_in(request: Request) -> Response:
        client = request.client.host if request.client else ""
        wait_s = doorkeeper.tries.wait_s(client, now())
        if wait_s > 0:
            refused(client)
            error = f"Too many tries. Wait {wait_s:.0f} seconds."
            return page(
                request,
                "sign_in.html",
                status=429,
                error=error,
                used=False,
                has_password=doorkeeper.has_password,
            )
        form = await request.form()
        # Counted before it is verified: tries that run at the same time count too.
        doorkeeper.tries.begin(client, now())
        cookie = await run_in_threadpool(doorkeeper.sign_in, str(form.get("password", "")))
        if cookie is None:
            refused(client)
            error = "That is not the password."
            return page(
                request,
                "sign_in.html",
                status=403,
                error=error,
                used=False,
                has_password=doorkeeper.has_password,
            )
        answer = RedirectResponse("/", status_code=303)
        set_session(answer, cookie, secure=request.url.scheme == "https")
        return answer

    async def sign_out(request: Request) -> Response:
        session = session_of(request)
        if session is not None:
            try:
                await run_in_threadpool(doorkeeper.sign_out, session)
            except OSError as error:  # a full disk: it is over here and now all the same
                logger.warning("a signing out is not on disk, and holds until the next start: %s", error)
        answer = RedirectResponse("/sign-in", status_code=303)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    return [
        Route("/sign-in", show),
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
    ]
