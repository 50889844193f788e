"""What every page shows around its content, and what forms answer."""

from collections.abc import Mapping
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from secondlook.core.display import as_sentence
from secondlook.review.operations.late_verdicts import strip
from secondlook.review.operations.operations import Operations
from secondlook.review.pages.render import NO_FAULTS, PAGES, page, query_string

BAD_REQUEST = 400
NOT_FOUND = 404
NOTHING_TYPED: Mapping[str, str] = {}


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
        status: int | None = None,
        faults: Mapping[str, str] = NO_FAULTS,
        **values: object,
    ) -> HTMLResponse:
        """Render a page for a signed-in reader; with faults its status is that of a bad request."""
        waiting = await self.operations.waiting()
        fresh = await self.operations.late.fresh()
        undo = request.query_params.get("undo")
        done = request.query_params.get("done")
        flash = None
        if done:
            # Only our own forms' undo is offered: taking back a rule that was just made.
            undoable = undo.split(".") if undo and undo.replace(".", "").isalnum() else []
            rules = await self.operations.rules.made(undoable) if undoable else []
            gone = undoable and not rules  # undone, removed or over since: the page was gone back to
            flash = {
                "kind": "good",
                "text": "" if gone else DONE.get(done, ""),
                "undo": undoable,
                "rules": rules,
                "back": str(request.url.remove_query_params(["done", "undo"]).replace(scheme="", netloc="")),
            }
        names = self.operations.names()
        return page(
            request,
            template,
            status=status or (BAD_REQUEST if faults else 200),
            counts={"/flagged": waiting, "/late": len(fresh)},
            late=strip(fresh, names) if request.url.path != "/late" else None,
            titles=await self.operations.titles(),
            names=names,
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


class Handlers:
    """Handlers of some of the pages."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.operations = frame.operations
        self.editor = frame.operations.program.editor


DONE = {
    "allowed": "Allowed. The rule is in force within a second.",
    "blocked": "Blocked. The rule is in force within a second.",
    "removed": "The rule is gone.",
    "undone": "Undone: the rules are as they were before.",
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
