"""The internal site in mitmproxy's messages."""

from collections.abc import Mapping

from mitmproxy import http

from secondlook.download.request_facts import read_request_facts
from secondlook.site.internal_site import InternalSite, SiteAnswer, SiteRequest, Visitor, Way


class OwnSite:
    """Answers requests of flows for the internal site, and makes what other pages the proxy itself shows."""

    def __init__(self, site: InternalSite) -> None:
        self._site = site
        self.language = site.language
        self.way_past = site.way_past

    async def answer(
        self, request: http.Request, visitor: Visitor, proxy_address: str, body: bytes = b""
    ) -> http.Response:
        """Answer one request; never raises for what a client may send."""
        return _response(await self._site.answer(_asked(request), visitor, proxy_address, body))

    def problem(
        self,
        request: http.Request,
        status: int,
        text: str,
        *,
        advice: str | None = None,
        way: Way | None = None,
        values: Mapping[str, object] | None = None,
    ) -> http.Response:
        """Report, in the form that fits (a page, else RFC 9457), why there is no other answer."""
        found = self._site.problem(_asked(request), status, text, advice=advice, way=way, values=values)
        return _response(found)


def _asked(request: http.Request) -> SiteRequest:
    return SiteRequest(
        request.method,
        request.host,
        request.path,
        read_request_facts(request.data.headers.fields),
        request.headers.get("origin"),
        request.headers.get("content-type"),
    )


def _response(answer: SiteAnswer) -> http.Response:
    return http.Response.make(answer.status, answer.body, http.Headers(answer.headers))
