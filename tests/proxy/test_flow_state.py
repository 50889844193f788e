"""What the proxy knows of a flow is with the flow: of one that it did not let through it knows nothing."""

import pytest
from mitmproxy.test.tflow import tflow

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from secondlook.proxy.flow_state import state_of


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


@pytest.fixture
def book(tmp_path, gatekeeper):
    book = Playbook(tmp_path, gatekeeper, archives={"enabled": False})
    yield book
    book.close()


def ask(book):
    book.from_client(b"GET http://site.test/x HTTP/1.1\r\nHost: site.test\r\n\r\n")
    assert book.flow is not None
    return book.flow


def test_of_what_was_let_through_it_is_known_what_was_decided(book):
    state = state_of(ask(book))
    assert state is not None
    assert state.subject.expressions[0] == "site.test/x"
    assert not state.misfit
    assert not state.unproved


def test_of_what_was_refused_nothing_is_known(book, gatekeeper):
    gatekeeper.bad.add("site.test/x")
    flow = ask(book)
    assert flow.response is not None
    assert flow.response.status_code == 403
    assert state_of(flow) is None


def test_of_another_flow_nothing_is_known():
    assert state_of(tflow()) is None
