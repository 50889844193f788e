"""The internal site in mitmproxy's messages: what a request says goes in, the whole answer comes out."""

import asyncio

from mitmproxy.test.tutils import treq

from secondlook.proxy.own_site import OwnSite
from secondlook.site.internal_site import SiteAnswer, Visitor


class Site:
    language = way_past = None

    async def answer(self, request, visitor, proxy_address, body):
        self.asked = request, visitor, proxy_address, body
        return SiteAnswer(200, [(b"Content-Type", b"text/plain")], b"page")

    def problem(self, request, status, told, **more):
        return SiteAnswer(status, [], told.encode())


def test_a_request_and_its_answer():
    inner = Site()
    site, me = OwnSite(inner), Visitor("10.0.0.9", None)
    request = treq(method=b"POST", host="secondlook.internal", path=b"/blocked/1?a")
    request.headers["Origin"] = "http://secondlook.internal"
    answer = asyncio.run(site.answer(request, me, "10.0.0.1:8080", b"token=1"))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (
        200,
        b"page",
        "text/plain",
    )
    asked, *rest = inner.asked
    assert rest == [me, "10.0.0.1:8080", b"token=1"]
    assert (asked.method, asked.host, asked.path) == ("POST", "secondlook.internal", "/blocked/1?a")
    assert (asked.origin, asked.content_type) == ("http://secondlook.internal", None)
    assert site.problem(request, 502, "why").content == b"why"
