"""The first boundary: what is decided in the hooks, and that no fault in them opens a door."""

import pytest
from mitmproxy.test.tflow import tflow

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from secondlook.core.verdict import SubjectClass
from secondlook.proxy.flow_state import state_of


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


@pytest.fixture
def book(tmp_path, gatekeeper):
    book = Playbook(tmp_path, gatekeeper)
    yield book
    book.close()


@pytest.fixture
def flow():
    flow = tflow()
    flow.request.url = "http://site.test/page"
    flow.request.host_header = "site.test"
    flow.request.headers["accept"] = "text/html"
    return flow


def decide(book, flow) -> None:
    if (waiting := book.edge.requestheaders(flow)) is not None:
        book.loop.run_until_complete(waiting)


@pytest.mark.parametrize("how", ["now", "asked"])
def test_what_is_let_through_is_known_for_as_long_as_it_lasts(book, gatekeeper, flow, how):
    gatekeeper.slow |= {"site.test/page"} if how == "asked" else set()
    gatekeeper.delay_s = 0
    decide(book, flow)
    state = state_of(flow)
    assert flow.response is None
    assert state is not None
    assert state.context.url == "http://site.test/page"
    assert flow.request.stream is True


@pytest.mark.parametrize("how", ["now", "asked"])
def test_what_is_listed_is_refused_with_a_page(book, gatekeeper, flow, how):
    gatekeeper.bad.add("site.test/page")
    gatekeeper.slow |= {"site.test/page"} if how == "asked" else set()
    gatekeeper.delay_s = 0
    decide(book, flow)
    assert flow.response.status_code == 403
    assert flow.response.headers["x-second-look"].startswith("blocked; event=")
    assert b"http://site.test/page" in flow.response.content
    assert state_of(flow) is None


def test_each_name_that_a_request_gives_is_checked(book, gatekeeper, flow):
    flow.request.host_header = "other.test"
    gatekeeper.bad.add("other.test/page")
    decide(book, flow)
    assert flow.response.status_code == 403


def test_the_name_that_tls_began_with_is_checked(book, gatekeeper, flow):
    flow.request.scheme, flow.client_conn.sni = "https", "evil.test"
    gatekeeper.bad.add("evil.test/page")
    decide(book, flow)
    assert flow.response.status_code == 403


@pytest.mark.parametrize(("sni", "status"), [("evil.test", 421), ("other.test", 421), ("SITE.test", 403)])
def test_a_browser_is_sent_to_a_connection_of_its_own_for_what_another_name_would_close(
    book, gatekeeper, flow, sni, status
):
    """It asks for every name of a certificate over one connection, and again over another one after a 421."""
    flow.request.scheme, flow.request.http_version, flow.client_conn.sni = "https", "HTTP/2.0", sni
    gatekeeper.bad.add("evil.test/page" if sni == "evil.test" else "site.test/page")
    decide(book, flow)
    assert flow.response.status_code == status


def test_a_request_that_was_answered_is_not_decided_again(book, gatekeeper, flow):
    gatekeeper.bad.add("site.test/page")
    decide(book, flow)
    answered = flow.response
    gatekeeper.bad.clear()
    decide(book, flow)
    assert flow.response is answered


def test_a_fault_in_a_check_follows_the_policy(book, gatekeeper, flow):
    gatekeeper.faults.add("now")
    decide(book, flow)
    assert flow.response is None
    assert [how for how, *_ in gatekeeper.seen] == ["unverifiable"]
    assert state_of(flow).context.cls is SubjectClass.PAGE


@pytest.mark.parametrize("fault", ["unverifiable", "subject"])
def test_a_fault_in_the_policy_too_is_a_refusal(book, gatekeeper, flow, fault):
    gatekeeper.faults |= {"now", fault}
    decide(book, flow)
    assert flow.response.status_code == 403


def test_a_refusal_whose_page_cannot_be_made_is_a_bare_one(book, gatekeeper, flow, monkeypatch):
    def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("injected")

    monkeypatch.setattr("secondlook.refusal.block_page.BlockPage.render", broken)
    gatekeeper.bad.add("site.test/page")
    decide(book, flow)
    assert (flow.response.status_code, flow.response.content) == (403, b"")
    assert flow.response.headers["x-second-look"].startswith("blocked; ")


def test_a_response_that_gets_no_gate_is_killed(book, flow, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("injected")

    decide(book, flow)
    flow.response = tflow(resp=True).response
    monkeypatch.setattr(book.edge.bodies, "receive", broken)
    flow.live = True
    book.edge.responseheaders(flow)
    assert flow.error is not None
    assert not flow.live or flow.error.msg == flow.error.KILLED_MESSAGE
