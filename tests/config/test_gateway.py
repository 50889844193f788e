"""`gateway` of proxy.yaml: off, in short, and what is refused."""

from pathlib import Path

import pytest

from secondlook.config.document import InvalidConfigError
from secondlook.config.gateway import LARGEST_PREVIEW_BYTES, MOST_GATES
from secondlook.config.source import load_settings


def settings(*overrides):
    return load_settings(None, overrides=["state=/s", *overrides])


def test_it_is_off_unless_it_is_wanted():
    found = settings()
    assert not found.gateway.enabled
    assert found.judging_count == found.worker_count
    assert settings("gateway=true", "workers=2").judging_count == 3
    assert not settings("gateway=false").gateway.enabled


def test_its_socket_lies_in_the_state_folder_unless_it_is_said():
    assert settings("gateway=true").gateway_socket == Path("/s/gateway.sock")
    assert settings("gateway.socket=/run/x.sock").gateway_socket == Path("/run/x.sock")


def test_an_address_stands_for_icap():
    found = settings("gateway={enabled: true, icap: 127.0.0.1:1344}").gateway.icap
    assert (str(found.listen), found.preview, found.max_connections) == ("127.0.0.1:1344", 4096, 1000)


def test_no_proxy_at_all():
    found = settings("mode=none", "gateway=true", "workers=4", "listen=0.0.0.0:1")
    assert (found.proxies, found.worker_count, found.judging_count) == (False, 0, 1)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("mode=none", "mode: expected gateway.enabled: true with mode: none"),
        ("gateway.icap=0.0.0.0:1344", "gateway.icap.clients: expected the networks of the gateways"),
        (f"gateway.icap.preview={LARGEST_PREVIEW_BYTES + 1}", "gateway.icap.preview: expected"),
        (f"gateway.workers={MOST_GATES + 1}", "gateway.workers: expected"),
        ("gateway.workers=0", "gateway.workers: expected 1 or more"),
        ("gateway.sokket=x", "gateway.sokket: unknown key; did you mean socket?"),
        ("gateway={enabled: true, name: ' '}", "gateway.name: expected"),
        ("gateway.icap.clients=[anna]", "gateway.icap.clients.0: expected a network"),
    ],
)
def test_what_cannot_be(override, told):
    with pytest.raises(InvalidConfigError) as raised:
        settings(override)
    assert told in str(raised.value)


def test_the_bounds_themselves_can_be():
    found = settings(f"gateway.icap.preview={LARGEST_PREVIEW_BYTES}", f"gateway.workers={MOST_GATES}")
    assert found.gateway.workers == MOST_GATES
    assert str(settings("gateway.icap={listen: '0.0.0.0:1344', clients: [192.0.2.1]}").gateway.icap.listen)


def test_a_gateway_names_users_of_its_own():
    groups = "clients={groups: [{name: children, users: [ben]}]}"
    with pytest.raises(
        InvalidConfigError, match=r"clients.groups.0.users: expected a user named in clients.users, got ben"
    ):
        settings(groups)
    assert settings(groups, "gateway=true").clients.groups[0].users == ("ben",)
