"""A directory behind TLS, from the first byte on (`ldaps://`) and by StartTLS; slapd is real, as is what hangs."""

import asyncio
import socket
from contextlib import contextmanager

import pytest
from sansldap import ExtendedResponse, LDAPResultCode

from lookup.certificates import DAY, Authority
from proxy.test_ldap import answer
from proxykit.slapd import PASSWORD, TEMPLATE, slapd
from secondlook.config.ldap import LdapSettings
from secondlook.proxy.access.ldap import DirectoryError, Ldap
from secondlook.run.diagnosis.directory_check import directory

WAYS = {"ldaps": {}, "ldap": {"starttls": True}}
TIME_S = 0.3


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=WAYS)
def scheme(request):
    return request.param


@contextmanager
def serving(folder, scheme, authority, host="127.0.0.1", until=DAY):
    path, _ = authority.issue(host, until=until)
    with slapd(folder / "slapd", (path, path), scheme) as running:
        yield running


def settings_of(scheme, port, host="127.0.0.1", **more):
    given = {"uri": f"{scheme}://{host}:{port}", "bind": TEMPLATE, "timeout": "10s"}
    return LdapSettings.model_validate(given | WAYS[scheme] | more)


def why_not(settings):
    """Return why no password went there, which `doctor` says too."""
    with pytest.raises(DirectoryError) as told:
        asyncio.run(Ldap(settings).holds("ann", PASSWORD))
    found = asyncio.run(directory(settings))
    assert (found.result, found.text) == ("problem", f"the directory gives no answer: {told.value}")
    assert "`ca`" in found.remedy
    return str(told.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_the_own_authority_holds(tmp_path, scheme, authority, host):
    with serving(tmp_path, scheme, authority, host) as server:
        settings = settings_of(scheme, server.port, host, ca=str(authority.path))
        asked = [("ann", PASSWORD, True), ("ann", "wrong", False), ("nobody", PASSWORD, False)]
        for name, password, right in asked:
            assert asyncio.run(Ldap(settings).holds(name, password)) is right
        assert asyncio.run(directory(settings)).result == "ok"


def test_a_certificate_of_nobody_known_does_not(tmp_path, scheme, authority):
    with serving(tmp_path, scheme, authority) as server:
        told = why_not(settings_of(scheme, server.port))
        assert "its certificate does not hold: unable to get local issuer certificate" in told
        assert server.binds() == 0


def test_nor_one_of_another_name(tmp_path, scheme, authority):
    with serving(tmp_path, scheme, authority, "ldap.example") as server:
        told = why_not(settings_of(scheme, server.port, "localhost", ca=str(authority.path)))
        assert "its certificate does not hold: Hostname mismatch" in told
        assert server.binds() == 0


def test_nor_one_that_has_expired(tmp_path, scheme, authority):
    with serving(tmp_path, scheme, authority, until=-DAY) as server:
        told = why_not(settings_of(scheme, server.port, ca=str(authority.path)))
        assert "its certificate does not hold: certificate has expired" in told
        assert server.binds() == 0


def test_a_directory_without_tls_gets_no_password(tmp_path, scheme, authority):
    with slapd(tmp_path / "slapd") as server:
        told = why_not(settings_of(scheme, server.port, ca=str(authority.path)))
        assert server.binds() == 0
    why = {"ldaps": "it hung up in place of TLS", "ldap": "it refuses StartTLS: PROTOCOL_ERROR"}
    assert why[scheme] in told


def test_one_that_wants_tls_from_the_first_byte_on_is_not_asked_otherwise(tmp_path, authority):
    with serving(tmp_path, "ldaps", authority) as server:
        assert "it hung up" in why_not(settings_of("ldap", server.port, ca=str(authority.path)))


@pytest.mark.parametrize("agrees", [False, True])
def test_one_that_hangs_in_the_handshake_is_waited_for_no_longer_than_said(scheme, authority, agrees):
    """Before the first byte, and by StartTLS after it agreed."""
    agreed = answer(1, LDAPResultCode.SUCCESS, ExtendedResponse) if agrees else b""
    links = []

    async def scene():
        async def serve(reader, writer):
            links.append(writer)
            await reader.read(4096)
            writer.write(agreed)
            await reader.read()
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            settings = settings_of(scheme, port, ca=str(authority.path), timeout=f"{TIME_S}s")
            with pytest.raises(DirectoryError) as told:
                await Ldap(settings).holds("ann", PASSWORD)
            found = await directory(settings)
        return str(told.value), found.text

    told, found = asyncio.run(scene())
    assert found == f"the directory gives no answer: {told}"
    assert len(links) == 2
    if scheme == "ldaps" and agrees:
        assert told.endswith("no TLS with it: wrong version number")
    else:
        assert told.endswith(f"no answer within {TIME_S:g} s")


def test_a_port_that_takes_no_more_connections_is_waited_for_no_longer_than_said(authority):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        told = why_not(settings_of("ldaps", port, ca=str(authority.path), timeout=f"{TIME_S}s"))
        assert told.endswith(f"no answer within {TIME_S:g} s")
        for each in waiting:
            each.close()
