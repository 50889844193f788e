"""`secondlook.internal`: the pages of the proxy itself for whoever browses through it.

Answered for `http(s)://secondlook.internal/…` through the proxy and for the same paths in origin form on the
proxy's own address, as a browser fetches a PAC file without the proxy; there, files that are the same for
everybody are given under any name, pages under one that is ours for certain. A GET changes nothing. The one
POST, a timed exception on `/blocked/ID` or `/unopened/ID` (`exceptions.py`), needs a CSRF token and
the client and user that it was met by, whose policy lets them.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

from secondlook.core.event import Event
from secondlook.download.request_facts import RequestFacts
from secondlook.refusal.block_page import Pages
from secondlook.refusal.language import Language, phrase
from secondlook.refusal.refusal import INTERNAL_HOST, Form, Override, fitting_form, is_internal
from secondlook.resolver import is_own_name
from secondlook.site.exceptions import BlockExceptions, Exceptions, PassageExceptions, lasting_text
from secondlook.site.files import File, certificate, mobile_profile, pac
from secondlook.site.ports import Records
from secondlook.site.qr import address_code

TOKEN_LIFE_S = 1800
ABOUT = phrase(
    "A proxy that checks every address and every download, "
    "and looks again at what could not be checked at once."
)
FORM_MAX_BYTES = 4096
DIRECT_FALLBACK = "fallback=direct"  # of /proxy.pac: go unchecked while the proxy is down
PROFILE_WITH_PROXY = "proxy=pac"  # of /ca.mobileconfig: the proxy too, by its PAC file
_PUBLIC = frozenset(
    {"/proxy.pac", "/wpad.dat", "/ca.pem", "/ca.crt", "/ca.cer", "/ca.mobileconfig", "/healthz"}
)
"""The same for everybody, and fetched by whatever name a network gives its proxy."""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What the site needs to know of its surroundings."""

    ca_pem: Path
    key: bytes  # secret of this installation, the same in every worker
    override_s: Override
    unopened_s: Override
    not_ready: Callable[[], str | None]  # what keeps this proxy from protecting, in words


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: an IP address, and the name under which that connection is logged in."""

    client: str | None
    user: str | None

    def met(self, event: Event) -> bool:
        """Return whether an event is about this client and this user."""
        return self.client is not None and (event.client, event.user) == (self.client, self.user)


@dataclass(frozen=True, slots=True)
class SiteRequest:
    """A request for the site; `path` has its query, text is latin-1, absent headers are None."""

    method: str
    host: str
    path: str
    asked: RequestFacts
    origin: str | None = None
    content_type: str | None = None


class SiteAnswer(NamedTuple):
    """What it is answered with."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Way(NamedTuple):
    """A page on which a person can do something about a problem, and for how long."""

    link: str
    lasting: str


class InternalSite:
    """Answers requests to the site; `answer` takes the proxy's address as this client sees it, if it does."""

    def __init__(self, facts: SiteFacts, records: Records, pages: Pages) -> None:
        self._facts = facts
        self._records = records
        self._pages = pages
        self._exceptions: dict[str, Exceptions] = {
            "blocked": BlockExceptions(records, facts.override_s),
            "unopened": PassageExceptions(records, facts.unopened_s),
        }

    def way_past(self, event_id: str, client: str | None, user: str | None, language: Language) -> Way | None:
        """Return the page on which a client may pass the TLS through whose failure an event records."""
        lasting = lasting_text(self._facts.unopened_s(client, user), language)
        return None if lasting is None else Way(f"https://{INTERNAL_HOST}/unopened/{event_id}", lasting)

    def language(self, asked: RequestFacts) -> Language:
        """Choose the language in which a request is answered."""
        return self._pages.language(asked.language)

    async def answer(
        self, request: SiteRequest, visitor: Visitor, proxy_address: str | None, body: bytes = b""
    ) -> SiteAnswer:
        """Answer one request; never raises for what a client may send."""
        path, _, query = request.path.partition("?")
        if path not in _PUBLIC and not (is_internal(request.host) or is_own_name(request.host)):
            reason = phrase("this name is not the proxy's: its pages are at %(site)s or %(address)s")
            address = INTERNAL_HOST if proxy_address is None else proxy_address
            values = {"site": f"http://{INTERNAL_HOST}/", "address": f"http://{address}/"}
            return self.problem(request, 421, reason, values=values)
        kind, _, event_id = path[1:].partition("/")
        if event_id and (exceptions := self._exceptions.get(kind)) is not None:
            return await self._exception(request, exceptions, event_id, visitor, body)
        if request.method not in {"GET", "HEAD"}:
            return self.problem(request, 405, phrase("only GET here"), extra=[(b"Allow", b"GET, HEAD")])
        return self._show(request, path, visitor, proxy_address, query)

    def _show(
        self, request: SiteRequest, path: str, visitor: Visitor, proxy_address: str | None, query: str
    ) -> SiteAnswer:
        match path:
            case "/":
                code = address_code(proxy_address)
                return self._page(
                    request, "setup.html", forms=False, about=ABOUT, proxy=proxy_address, site="", code=code
                )
            case "/healthz":
                why = self._facts.not_ready()
                return self._plain(200, "ok\n") if why is None else self._plain(503, f"not ready: {why}\n")
            case "/ca.pem" | "/ca.crt" | "/ca.cer":
                ending = path.rpartition(".")[2]
                return self._file(request, lambda: certificate(self._facts.ca_pem, ending))
            case "/ca.mobileconfig":
                about = self.language(request.asked).say(ABOUT)
                address = proxy_address if query == PROFILE_WITH_PROXY else None
                return self._file(request, lambda: mobile_profile(self._facts.ca_pem, about, address))
            case "/proxy.pac" | "/wpad.dat" if proxy_address is not None:
                return self._file(
                    request, lambda: pac(proxy_address, direct_fallback=query == DIRECT_FALLBACK)
                )
            case "/filtered":
                return self._page(request, "filtered.html", forms=False, client=visitor.client)
            case "/filtered.json":
                return self._json(200, {"filtered": True, "client": visitor.client})
            case "/back":
                return self._page(request, "back.html", forms=False, script=self._pages.back_script)
            case _:
                return self.problem(request, 404, phrase("no such page"))

    async def _exception(
        self, request: SiteRequest, exceptions: Exceptions, event_id: str, visitor: Visitor, body: bytes
    ) -> SiteAnswer:
        event = await self._records.event(event_id) if _is_id(event_id) else None
        if event is None or not visitor.met(event) or not exceptions.about(event):
            return self.problem(request, 404, exceptions.missing)
        if request.method == "POST":
            return await self._make_exception(request, exceptions, event, body)
        if request.method not in {"GET", "HEAD"}:
            allowed = [(b"Allow", b"GET, HEAD, POST")]
            return self.problem(request, 405, phrase("only GET and POST here"), extra=allowed)
        language = self.language(request.asked)
        lasting = lasting_text(exceptions.lasting_s(event), language)
        return self._page(
            request,
            exceptions.page,
            forms=lasting is not None,
            lasting=lasting,
            token=self._token(event, int(time.time()) + TOKEN_LIFE_S) if lasting is not None else None,
            event_id=event.id,
            **exceptions.shown(event, lasting, language),
        )

    async def _make_exception(
        self, request: SiteRequest, exceptions: Exceptions, event: Event, body: bytes
    ) -> SiteAnswer:
        lasting_s = exceptions.lasting_s(event)
        if lasting_s is None:
            return self.problem(request, 403, phrase("no exception is made for this"))
        origin = request.origin
        if origin is not None and origin not in {f"http://{INTERNAL_HOST}", f"https://{INTERNAL_HOST}"}:
            return self.problem(request, 403, phrase("this form was sent from another site"))
        if not (request.content_type or "").startswith("application/x-www-form-urlencoded"):
            return self.problem(request, 415, phrase("expected a form"))
        token = parse_qs(body[:FORM_MAX_BYTES].decode("latin-1")).get("token", [""])[0]
        if not self._token_holds(token, event):
            reason = phrase("this form is too old or was not made for you: open the page again")
            return self.problem(request, 403, reason)
        try:
            await exceptions.make(event, lasting_s)
        except ValueError as error:
            reason = phrase("no exception can be made: %(error)s")
            return self.problem(request, 403, reason, values={"error": error})
        language = self.language(request.asked)
        lasting = lasting_text(lasting_s, language)
        shown = exceptions.shown(event, lasting, language)
        return self._page(request, exceptions.done, forms=False, lasting=lasting, **shown)

    def _token(self, event: Event, until: int) -> str:
        text = f"override\0{event.id}\0{event.client}\0{event.user or ''}\0{until}".encode()
        return f"{until}.{hmac.new(self._facts.key, text, hashlib.sha256).hexdigest()}"

    def _token_holds(self, token: str, event: Event) -> bool:
        until, _, _ = token.partition(".")
        if not (until.isascii() and until.isdigit()) or int(until) < time.time():
            return False
        return hmac.compare_digest(token.encode(), self._token(event, int(until)).encode())

    def _file(self, request: SiteRequest, make: Callable[[], File]) -> SiteAnswer:
        try:
            content, content_type, name = make()
        except OSError:
            return self.problem(request, 503, phrase("the certificate is not there yet"))
        except ValueError:
            reason = phrase("the file of the certificate is damaged: a restart of the proxy repairs it")
            return self.problem(request, 503, reason)
        saved = [(b"Content-Disposition", f'attachment; filename="{name}"'.encode())] if name else None
        return _response(200, content, content_type, saved)

    def _page(
        self,
        request: SiteRequest,
        template: str,
        *,
        forms: bool,
        status: int = 200,
        script: str | None = None,
        **values: object,
    ) -> SiteAnswer:
        language = self.language(request.asked)
        headers = self._pages.headers(sandbox=False, forms=forms, script=script)
        return _response(
            status,
            self._pages.render(template, language, script=script, **values),
            "text/html; charset=utf-8",
            headers + self._pages.language_headers(language),
        )

    def problem(
        self,
        request: SiteRequest,
        status: int,
        reason: str,
        extra: list[tuple[bytes, bytes]] | None = None,
        *,
        advice: str | None = None,
        way: Way | None = None,
        values: Mapping[str, object] | None = None,
    ) -> SiteAnswer:
        """Report, in the form that fits (a page, else RFC 9457), why there is no other answer.

        `reason` is translated, then the values are put in.
        """
        facts = request.asked
        language = self.language(facts)
        reason = language.say(reason, **(values or {}))
        if fitting_form(facts, request.path)[0] is Form.PAGE:
            reason = language.sentence(reason)
            answer = self._page(
                request, "problem.html", forms=False, status=status, reason=reason, advice=advice, way=way
            )
        else:
            document = {"type": "about:blank", "title": reason, "status": status}
            if advice is not None:
                document["detail"] = advice
            if way is not None:
                document["instance"] = way.link
            content, headers = json.dumps(document).encode(), self._pages.language_headers(language)
            answer = _response(status, content, "application/problem+json", headers)
        answer.headers.extend(extra or ())
        return answer

    def _json(self, status: int, value: object) -> SiteAnswer:
        return _response(status, json.dumps(value).encode(), "application/json")

    def _plain(self, status: int, text: str, extra: list[tuple[bytes, bytes]] | None = None) -> SiteAnswer:
        return _response(status, text.encode(), "text/plain; charset=utf-8", extra)


def _response(
    status: int, body: bytes, content_type: str, extra: list[tuple[bytes, bytes]] | None = None
) -> SiteAnswer:
    headers = [
        (b"Content-Type", content_type.encode()),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
        *(extra or ()),
    ]
    return SiteAnswer(status, headers, body)


def _is_id(text: str) -> bool:
    return 0 < len(text) <= 64 and text.isascii() and text.replace("-", "").isalnum()  # noqa: PLR2004
