"""The gate before every page of the review: Host, Origin, session, CSRF, and the security headers.

Order of the checks, each with its own refusal:

1. **Host** must be one of our own names (DNS rebinding).
2. Static files and the sign-in page are open.
3. **Bearer token** (API and metrics only) or **session cookie**, else the sign-in page (pages) or 401 (API).
4. A request that changes something must come from our own origin (`Origin`, else `Sec-Fetch-Site`) and,
   with a cookie, carry the CSRF token in `X-CSRF-Token` or in the form.

No body is read further than anybody needs it to be (413). A form comes as our pages send it: one of
`multipart/form-data` (415) names a charset, some of which take minutes to decode. Who leaves in the middle
is no fault.
"""

import contextlib
import ipaddress
from collections.abc import Iterable
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secondlook.core.display import as_sentence
from secondlook.review.api.problem import problem
from secondlook.review.pages.render import page
from secondlook.review.session import COOKIE, Doorkeeper, csrf_ok, sent_to, set_session

ANY_ADDRESS = "(any address)"  # among the host names: every literal IP address
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEALTH_PATH = "/healthz"
OPEN_PATHS = ("/static/", "/sign-in")
METRICS_PATH = "/metrics"
TOKEN_PATHS = ("/api/", METRICS_PATH)  # answered in problem+json; a bearer token will do
MAX_FORM_BYTES = 1 << 20
MAX_API_BYTES = 32 << 20  # as many rules as one import may hold are 25 MB

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Gate:
    """ASGI middleware that lets through only what may be let through."""

    def __init__(self, app: ASGIApp, *, doorkeeper: Doorkeeper, hosts: Iterable[str]) -> None:
        self.app = app
        self.doorkeeper = doorkeeper
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then hand it on with `scope["session"]` set."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        api = scope["path"].startswith(TOKEN_PATHS)
        receive = _bounded(receive, Headers(scope=scope), MAX_API_BYTES if api else MAX_FORM_BYTES)
        with contextlib.suppress(ClientDisconnect):
            await self._answer(scope, receive, send_guarded)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: Response | None
        try:
            refusal, receive = await self._refusal(scope, receive)
        except HTTPException as error:
            refusal = self._refuse(scope, error.status_code, "too large", error.detail)
        await (refusal or self.app)(scope, receive, send)

    async def _refusal(self, scope: Scope, receive: Receive) -> tuple[Response | None, Receive]:
        headers = Headers(scope=scope)
        path: str = scope["path"]
        api = path.startswith(TOKEN_PATHS)
        host = headers.get("host", "").lower()
        if path == HEALTH_PATH and scope["method"] in SAFE_METHODS:
            return None, receive  # a balancer names no host, or any
        if not self._ours(host):
            text = f"this page does not answer to the name {host[:200]!r}"
            return problem(421, "wrong host", text), receive
        scope["session"] = None
        changing = scope["method"] not in SAFE_METHODS
        if changing and (why := self._unfit(headers, host)) is not None:
            return self._refuse(scope, *why), receive
        if path.startswith(OPEN_PATHS):
            return None, receive
        if api and self.doorkeeper.bearer(headers.get("authorization"), metrics=path == METRICS_PATH):
            return None, receive
        session = self.doorkeeper.session(sent_to(host, cookie_parser(headers.get("cookie", "")), COOKIE))
        token = Request(scope).query_params.get("token") if scope["method"] == "GET" else None
        if token and not api:
            return self._by_link(scope, token, host, signed_in=session is not None), receive
        if session is None:
            return self._without_session(api=api, lost=changing and path != "/sign-out"), receive
        scope["session"] = session
        if not changing:
            return None, receive
        given, receive = await self._csrf_token(scope, receive, headers)
        if csrf_ok(session, given):
            return None, receive
        return self._refuse(
            scope, 403, "missing CSRF token", "reload the page and try again; nothing was changed"
        ), receive

    def _ours(self, host: str) -> bool:
        if ANY_ADDRESS in host:
            return False
        if host in self.hosts or f"*.{host.partition('.')[2]}" in self.hosts:
            return True
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not port.isdecimal():
            name, port = host, ""
        if (f"{ANY_ADDRESS}:{port}" if port else ANY_ADDRESS) not in self.hosts:
            return False
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    def _by_link(self, scope: Scope, token: str, host: str, *, signed_in: bool) -> Response:
        """Use a link up, whoever opens it, and take its token out of the address."""
        cookie = self.doorkeeper.redeem(token)
        if cookie is None and not signed_in:
            return RedirectResponse("/sign-in?used=1", status_code=303)
        target = RedirectResponse("/" + scope["path"].lstrip("/\\"), status_code=303)
        if cookie is not None and not signed_in:
            set_session(target, cookie, host, secure=scope["scheme"] == "https")
        return target

    @staticmethod
    def _without_session(*, api: bool, lost: bool) -> Response:
        if api:
            return problem(401, "not signed in", "send the token from run.json as a bearer token, or sign in")
        return RedirectResponse("/sign-in?lost=1" if lost else "/sign-in", status_code=303)

    def _unfit(self, headers: Headers, host: str) -> tuple[int, str, str] | None:
        """Return why a request may change nothing, whoever sends it: status, title, detail."""
        if not self._same_origin(headers, host):
            return 403, "foreign origin", "the request comes from another site; nothing was changed"
        if headers.get("content-type", "").lower().lstrip().startswith("multipart/"):
            return 415, "not a form of ours", "forms of this kind are not taken; nothing was changed"
        return None

    def _same_origin(self, headers: Headers, host: str) -> bool:
        origin = headers.get("origin")
        if origin is not None:
            return origin.lower() in {f"http://{host}", f"https://{host}"}
        # Browsers always send one of the two with a POST; command line clients send neither.
        return headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}

    @staticmethod
    async def _csrf_token(scope: Scope, receive: Receive, headers: Headers) -> tuple[str | None, Receive]:
        """Read the token from the header, else from a urlencoded form whose body is then replayed."""
        if (token := headers.get("x-csrf-token")) is not None:
            return token, receive
        if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return None, receive
        body = bytearray()
        async for chunk in Request(scope, receive).stream():
            body += chunk

        async def replay() -> Message:
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return parse_qs(body.decode("utf-8", "replace")).get("csrf", [None])[0], replay

    @staticmethod
    def _refuse(scope: Scope, status: int, title: str, detail: str) -> Response:
        if scope["path"].startswith(TOKEN_PATHS):
            return problem(status, title, detail)
        text = as_sentence(detail)
        return page(
            Request(scope), "error.html", status=status, title="That did not work", detail=text, back=None
        )


def _bounded(receive: Receive, headers: Headers, limit: int) -> Receive:
    """Read a request no further than `limit` bytes of body; one byte more raises HTTPException (413)."""
    declared = headers.get("content-length", "")
    taken = int(declared) if declared.isdecimal() else 0  # the whole, or what came in pieces so far
    in_pieces = not declared

    too_large = HTTPException(413, f"the request is larger than {limit >> 20} MiB; nothing was changed")

    async def receive_bounded() -> Message:
        nonlocal taken
        if taken > limit:
            raise too_large
        message = await receive()
        if in_pieces:
            taken += len(message.get("body", b""))
        if taken > limit:
            raise too_large
        return message

    return receive_bounded
