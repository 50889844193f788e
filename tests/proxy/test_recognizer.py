"""What comes next in a tunnel, by its first bytes alone: no proxy, no socket."""

from collections.abc import Callable, Iterator

import pytest
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import HttpLayer, modes
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons
from mitmproxy.test.tflow import tclient_conn

from secondlook.proxy.mitm.tls.recognizer import GREETED, Recognizer, is_virtual_resolver
from secondlook.proxy.mitm.tls.tls_layers import ClientTls, OriginTls
from secondlook.proxy.mitm.tls.tunnel import REFUSED, TUNNEL, Opening, RawTunnel

type Decide = Callable[..., layer.Layer | None]


class Outer(layer.Layer):
    """Any layer that stands before a tunnel."""

    def _handle_event(self, _: events.Event) -> layer.CommandGenerator[None]:
        yield from ()


@pytest.fixture
def decide() -> Iterator[Decide]:
    recognizer = Recognizer()
    with taddons.context(recognizer) as around:

        def choose(
            data: bytes,
            *,
            greeting: bytes = b"",
            patient: bool = True,
            alpn: bytes | None = None,
            inside_tls: bool = False,
            behind: type[layer.Layer] = Outer,
        ) -> layer.Layer | None:
            client = tclient_conn()
            client.proxy_mode, client.alpn = ProxyMode.parse("regular"), alpn
            client.timestamp_tls_setup = 1.0 if inside_tls else None
            context = Context(client, around.options)
            behind(context)
            context.server.address = ("a.test", 443)
            opening = Opening(context)
            opening.greeting, opening.patient = greeting, patient
            opening.events = [events.DataReceived(client, data)]
            recognizer.next_layer(opening)
            return opening.layer

        yield choose


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x16\x03", b"\r\n", b"G", b"POST / HT", b"SSH-2.0"])
def test_nothing_is_decided_before_the_bytes_can_tell(decide: Decide, data):
    assert decide(data) is None


def test_tls_is_opened_on_both_sides(decide: Decide):
    outer = decide(b"\x16\x03\x01")
    assert isinstance(outer, OriginTls)
    assert isinstance(outer.child_layer, ClientTls)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\r\nPOST /x HTTP/1.0\n", b"GET /\r\n", b"BREW / http/1.1\r\n"]
)
def test_http_is_opened(decide: Decide, data):
    assert isinstance(decide(data), HttpLayer)


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"\x00\x00\x00\x05", b"hello\n", b"\x15\x03\x01"])
def test_anything_else_is_a_tunnel_that_is_judged(decide: Decide, data):
    tunnel = decide(data)
    assert isinstance(tunnel, RawTunnel)
    assert tunnel.flow.metadata[REFUSED] is False


def test_what_was_agreed_on_inside_tls_is_http(decide: Decide):
    assert isinstance(decide(b"", alpn=b"h2"), HttpLayer)
    assert isinstance(decide(b"hello\n", alpn=b"http/1.1"), HttpLayer)


@pytest.mark.parametrize("data", [b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"])
def test_a_greeting_opens_nothing_and_hides_nothing(decide: Decide, data):
    """A server that speaks first is neither: what its client then begins goes nowhere."""
    tunnel = decide(data, greeting=b"220 mail\r\n")
    assert isinstance(tunnel, RawTunnel)
    assert tunnel.flow.metadata[REFUSED] is True
    assert tunnel.flow.metadata[TUNNEL] == GREETED


def test_a_tunnel_is_called_by_what_spoke_in_it(decide: Decide):
    named = decide(b"EHLO a\r\n", greeting=b"SSH-2.0-x\r\n").flow.metadata[TUNNEL]
    assert named.startswith("SSH")
    assert named.endswith(", its server spoke first")
    assert decide(b"SSH-2.0-x\r\n", inside_tls=True).flow.metadata[TUNNEL] == "SSH inside TLS"


def test_a_client_that_fell_silent_after_a_greeting_is_decided_about(decide: Decide):
    assert decide(b"EH", greeting=b"220 mail\r\n") is None
    assert isinstance(decide(b"EH", greeting=b"220 mail\r\n", patient=False), RawTunnel)
    assert decide(b"\r\n", patient=False) is None, "without a greeting nobody knows yet"


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x16\x03"])
def test_a_proxy_that_is_asked_itself_waits_for_enough_too(decide: Decide, data):
    assert decide(data, behind=modes.HttpProxy) is None


def test_only_wireguard_has_a_resolver_of_its_own():
    place = ("10.0.0.53", 53)
    assert is_virtual_resolver(ProxyMode.parse("wireguard"), place)
    assert not is_virtual_resolver(ProxyMode.parse("regular"), place)
    assert not is_virtual_resolver(ProxyMode.parse("wireguard"), ("10.0.0.53", 853))
