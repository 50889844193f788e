"""Whole HTTP responses, and the tag that tells gateways to forget."""

from types import SimpleNamespace

from icapkit.stand import Stand
from icapkit.wire import message
from proxykit.gatekeeper import FakeGatekeeper
from secondlook.gateway.icap.answers import tag_fields


def test_the_tag_is_that_of_what_is_answered_from(tmp_path):
    assert tag_fields(SimpleNamespace(tag=lambda: "a" * 32)) == ((b"ISTag", b'"' + b"a" * 32 + b'"'),)
    stand = Stand(tmp_path, FakeGatekeeper())

    def tag():
        return stand.run(stand.ask(message("OPTIONS", "reqmod"))).fields["istag"]

    assert tag() == '"tag-1"'
    stand.gate.tag = lambda: "tag-2"
    assert tag() == '"tag-2"'
    stand.close()
