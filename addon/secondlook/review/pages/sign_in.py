"""The pages that need no session: signing in, and out again."""

import logging
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from secondlook.core.url.address import is_loopback
from secondlook.ground.program_name import NAME, typed
from secondlook.review.pages.render import page
from secondlook.review.session import (
    DEVICE,
    Doorkeeper,
    end_session,
    sent_to,
    session_of,
    set_device,
    set_session,
)

logger = logging.getLogger(__name__)


def sign_in_routes(
    doorkeeper: Doorkeeper, refused: Callable[[str], None], now: Callable[[], float]
) -> list[Route]:
    """Return the pages that need no session: signing in, and out again; `refused` takes who failed to."""

    def form(request: Request, status: int = 200, error: str | None = None) -> Response:
        used = error is None and "used" in request.query_params
        lost = error is None and "lost" in request.query_params
        has = doorkeeper.has_password
        # where the program lies is nobody's business who asks over the network, and cannot type the command
        here = request.client is not None and is_loopback(request.client.host)
        command = typed("status") if here else f"{NAME} status"
        return page(
            request,
            "sign_in.html",
            status=status,
            error=error,
            used=used,
            lost=lost,
            has_password=has,
            command=command,
        )

    async def show(request: Request) -> Response:
        return form(request)

    async def sign_in(request: Request) -> Response:
        client = request.client.host if request.client else ""
        sent = await request.form()  # first: whoever waits with it is counted when it comes
        host = request.headers.get("host", "")
        tries, who = doorkeeper.tries(sent_to(host, request.cookies, DEVICE), client)
        wait_s = tries.wait_s(who, now())
        if wait_s > 0:
            refused(client)
            return form(request, 429, f"Too many tries. Wait {wait_s:.0f} seconds.")
        # Counted before it is verified: tries that run at the same time count too.
        tries.begin(who, now())
        cookie = await run_in_threadpool(doorkeeper.sign_in, str(sent.get("password", "")))
        if cookie is None:
            refused(client)
            return form(request, 403, "That is not the password.")
        tries.was_right(who)
        answer = RedirectResponse("/", status_code=303)
        secure = request.url.scheme == "https"
        set_session(answer, cookie, host, secure=secure)
        set_device(answer, doorkeeper.new_device(), host, secure=secure)
        return answer

    async def sign_out(request: Request) -> Response:
        session = session_of(request)
        if session is not None:
            try:
                await run_in_threadpool(doorkeeper.sign_out, session)
            except OSError as error:  # a full disk: it is over here and now all the same
                logger.warning("a signing out is not on disk, and holds until the next start: %s", error)
        answer = RedirectResponse("/sign-in", status_code=303)
        end_session(answer, request.headers.get("host", ""))
        return answer

    return [
        Route("/sign-in", show),
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
    ]
