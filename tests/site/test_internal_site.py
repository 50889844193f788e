"""The site without any front: what it answers, and that a GET changes nothing."""

import asyncio
import re
from types import SimpleNamespace

import pytest

from icapkit.stand import make_site
from proxykit.gatekeeper import FakeGatekeeper
from secondlook.core.event import Event, EventKind
from secondlook.core.verdict import SubjectClass
from secondlook.run.authority import make_authority
from secondlook.site.internal_site import SiteRequest, Visitor

PAGE = SimpleNamespace(dest="document", accept="text/html", language=None, referrer=None)
FORM = "application/x-www-form-urlencoded"
ME = Visitor("10.0.0.9", "anna")


def blocked(**more):
    values = {
        "id": "01E",
        "kind": EventKind.BLOCKED,
        "time": 1.0,
        "subject": "url",
        "cls": SubjectClass.PAGE,
        "url": "http://bad.test/",
        "host": "bad.test",
        "stage": "pattern",
        "client": "10.0.0.9",
        "user": "anna",
    }
    return Event(**(values | more))


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper(events={"01E": blocked()})


@pytest.fixture
def site(gatekeeper, tmp_path):
    return make_site(gatekeeper, tmp_path)


def ask(site, path, visitor=ME, *, method="GET", body=b"", proxy=None, **more):
    request = SiteRequest(method, "secondlook.internal", path, PAGE, **more)
    return asyncio.run(site.answer(request, visitor, proxy, body))


def test_a_form_of_the_page_makes_an_exception_for_who_met_the_block(site, gatekeeper):
    page = ask(site, "/blocked/01E")
    assert page.status == 200
    token = re.search(rb'name="token" value="([^"]+)"', page.body)[1]
    for visitor in (Visitor("10.0.0.8", "anna"), Visitor("10.0.0.9", None)):
        assert ask(site, "/blocked/01E", visitor).status == 404
    form = {"method": "POST", "content_type": FORM, "body": b"token=" + token}
    assert ask(site, "/blocked/01E", **form, origin="http://evil.test").status == 403
    assert ask(site, "/blocked/01E", **form | {"body": b"token=1.x"}).status == 403
    assert ask(site, "/blocked/01E", **form | {"content_type": "text/plain"}).status == 415
    assert gatekeeper.exceptions == []
    assert ask(site, "/blocked/01E", **form, origin="https://secondlook.internal").status == 200
    assert gatekeeper.exceptions == [("01E", "10.0.0.9", "anna", 600.0)]


def test_what_names_the_proxy_is_there_only_where_its_address_is_known(site):
    assert ask(site, "/proxy.pac").status == 404
    assert b"PROXY 10.0.0.1:8080" in ask(site, "/proxy.pac", proxy="10.0.0.1:8080").body
    assert b"proxy.pac" not in ask(site, "/").body
    assert b"10.0.0.1:8080" in ask(site, "/", proxy="10.0.0.1:8080").body


def test_other_answers(site):
    assert ask(site, "/filtered.json").body == b'{"filtered": true, "client": "10.0.0.9"}'
    assert ask(site, "/none").status == 404
    assert ask(site, "/", method="POST").status == 405
    assert ask(site, "/ca.pem").status == 503


@pytest.mark.parametrize("ending", ["pem", "crt", "cer"])
def test_the_certificate_is_saved_with_the_ending_of_its_address(site, tmp_path, ending):
    """Windows opens `crt` and `cer` by a double click, not `pem`."""
    make_authority(tmp_path, "ecdsa")
    (tmp_path / "mitmproxy-ca-cert.pem").rename(tmp_path / "none.pem")
    answer = ask(site, f"/ca.{ending}")
    assert (
        b"Content-Disposition",
        f'attachment; filename="second-look-ca.{ending}"'.encode(),
    ) in answer.headers


def test_a_visitor_from_the_network_gets_a_code_that_opens_the_page_on_a_phone(site):
    shown = ask(site, "/", proxy="192.168.1.5:8080").body.decode()
    assert '<svg viewBox="0 0 132 132" class="qr">' in shown
    assert "Point the camera of a phone" in shown
    assert 'href="/ca.mobileconfig"' in shown
    alone = ask(site, "/", proxy="127.0.0.1:8080").body.decode()
    assert "<svg" not in alone
