"""`/admin`: one page about a server, where findings of agents are approved and withdrawn.

It is there when `admin.password` is set. Nothing on it is changed by a GET. What is approved or withdrawn is
published as what `findings: auto` lists is.
"""

import base64
import hmac
import time
from collections.abc import Callable, Collection
from hashlib import sha256
from importlib import resources
from typing import Final
from urllib.parse import parse_qs

import jinja2
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from secondlook.core.display import readable
from secondlook.core.neutralize import inert
from secondlook.ground.errors import SecondLookError
from secondlook.ground.lanes import LISTS
from secondlook.ground.program_name import typed
from secondlook.server.admin.sign_in import SignIn
from secondlook.server.administration import status
from secondlook.server.findings.receiver import FindingReceiver
from secondlook.server.http.app import ADMIN as PATH
from secondlook.server.store.feed_alerts import feed_alerts
from secondlook.server.store.store import ServerStore

MAX_FORM_BYTES: Final = 4096
MOST_SHOWN: Final = 200  # findings of each state; the commands show all
STATES: Final = ("waiting", "listed", "withdrawn")
_STYLE: Final = resources.files("secondlook.server.admin").joinpath("templates/style.css").read_text("utf-8")
_STYLE_HASH: Final = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class AdminPage:
    """The page as a Starlette application; `client` gives the address of who asks.

    `feeds` are the names of those that are fetched: what is kept of others is past.
    """

    def __init__(
        self,
        store: ServerStore,
        receiver: FindingReceiver,
        sign_in: SignIn,
        client: Callable[[Scope], str],
        *,
        feeds: Collection[str] = (),
        publishes: bool = True,
    ) -> None:
        self._store = store
        self._receiver = receiver
        self._sign_in = sign_in
        self._client = client
        self._feeds = feeds
        self._publishes = publishes
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("secondlook.server.admin"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_harmless,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["utc"] = _utc
        environment.filters["readable"] = readable
        environment.globals["typed"] = typed
        self._template = environment.get_template("page.html")
        self.app = Starlette(
            routes=[
                Route(PATH, self._guarded(self._show)),
                Route(f"{PATH}/findings", self._guarded(self._decide), methods=["POST"]),
            ]
        )

    def _guarded(self, answer: Callable[[Request], object]) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            address = self._client(request.scope)
            if not await self._sign_in.knows(request.headers.get("authorization"), address):
                return self._ask(address)
            response: Response = await answer(request)  # type: ignore[misc]
            response.headers.update(_HEADERS)
            return response

        return endpoint

    def _ask(self, address: str) -> Response:
        wait_s = self._sign_in.wait_s(address)
        if wait_s:
            text = "too many wrong passwords: try again in a minute\n"
            return PlainTextResponse(text, 429, {"Retry-After": str(wait_s)})
        asked = {"WWW-Authenticate": 'Basic realm="Second Look server", charset="UTF-8"'}
        return PlainTextResponse("the password of admin.password is asked for here\n", 401, asked)

    async def _show(self, request: Request) -> Response:
        return await self._page(request, None)

    async def _page(self, request: Request, fault: str | None) -> Response:
        try:
            about = await LISTS.run(status, self._store)
            alerts = await LISTS.run(self._alerts)
            findings = await LISTS.run(self._receiver.intake.findings)
        except SecondLookError as error:
            return PlainTextResponse(f"the server's folder cannot be read: {error}\n", 503)
        by_state = {state: [each for each in findings if each.state == state] for state in STATES}
        page = self._template.render(
            style=Markup(_STYLE),  # noqa: S704 - our own file
            token=self._sign_in.form_token(request.headers.get("authorization")),
            about=about,
            alerts=alerts,
            failing=[feed for feed in about.feeds if feed.error and feed.name in self._feeds],
            findings={state: list(reversed(found))[:MOST_SHOWN] for state, found in by_state.items()},
            counts={state: len(found) for state, found in by_state.items()},
            is_open=self._receiver.is_open,
            publishes=self._publishes and not about.held,
            fault=fault,
        )
        return HTMLResponse(page, 409 if fault else 200)

    def _alerts(self) -> list[str]:
        return feed_alerts(self._store.root, named=bool(self._feeds), others=False, now=time.time())

    async def _decide(self, request: Request) -> Response:
        form = await _read_form(request)
        expected = self._sign_in.form_token(request.headers.get("authorization"))
        if not hmac.compare_digest(form.get("token", "").encode(), expected.encode()):
            return PlainTextResponse(
                "this form is of an earlier start of the server: load the page again\n", 403
            )
        decide = {"approve": self._receiver.approve, "withdraw": self._receiver.withdraw}.get(
            form.get("do", "")
        )
        if decide is None:
            return PlainTextResponse("expected do=approve or do=withdraw\n", 400)
        try:
            await decide(form.get("id", ""), form.get("mark", ""))
        except LookupError as error:  # decided elsewhere meanwhile
            return await self._page(request, str(error.args[0]))
        except SecondLookError as error:
            return PlainTextResponse(f"nothing was changed: {error}\n", 503)
        return RedirectResponse(PATH, 303)


async def _read_form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            return {}
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _harmless(value: object) -> object:
    """Spell out what hides or reorders in a text: findings hold names that others made."""
    return inert(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _utc(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) if at else "never"
