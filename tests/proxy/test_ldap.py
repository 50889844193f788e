"""Questions to a real slapd, and to directories that answer what they should not."""

import asyncio
import contextlib
import ssl

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sansldap import BindResponse, ExtendedResponse, LDAPResult, LDAPResultCode, LDAPServer
from sansldap._messages import PackingOptions

from e2e.processes import make_certificate
from proxykit.slapd import BASE, PASSWORD, PEOPLE, READER, TEMPLATE, Slapd, slapd
from secondlook.config.ldap import LdapSettings
from secondlook.proxy.access.ldap import MOST_BYTES, PIECE_BYTES, DirectoryError, Ldap

SEARCH = {"base": PEOPLE, "bind_dn": READER[0], "password": READER[1]}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"), "127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def server(tmp_path_factory, certificate):
    with slapd(tmp_path_factory.mktemp("slapd"), certificate) as running:
        yield running


def holds(where: Slapd | int, name: str, password: str, **more: object) -> bool:
    uri = f"ldap://127.0.0.1:{where}" if isinstance(where, int) else where.uri
    how = {"search": SEARCH | more.pop("search")} if "search" in more else {"bind": TEMPLATE}
    settings = LdapSettings.model_validate({"uri": uri, "timeout": "10s"} | how | more)
    return asyncio.run(Ldap(settings).holds(name, password))


@pytest.mark.parametrize("how", [{}, {"search": {}}, {"starttls": True}])
@pytest.mark.parametrize(
    ("name", "password", "right"),
    [
        ("ann", PASSWORD, True),
        ("ann", "wrong", False),
        ("ann", "", False),  # slapd would say yes: the bind of nobody
        ("nobody", PASSWORD, False),
        ("ann,ou=people", PASSWORD, False),
        ("a*", PASSWORD, False),
    ],
)
def test_a_name_and_its_password(server, certificate, how, name, password, right):
    if "starttls" in how:
        how = how | {"ca": str(certificate[0])}
    assert holds(server, name, password, **how) is right


def test_the_bind_without_password_would_succeed(server):
    """Else the refusal above shows nothing."""

    async def bind():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(bytes.fromhex("300c020101600702010304008000"))
        answer = await reader.read(100)
        writer.transport.abort()
        return answer

    assert bytes.fromhex("0a0100") in asyncio.run(bind())


def test_a_filter_that_finds_two_finds_nobody(server):
    by_mail = {"filter": "(mail={user})"}
    assert holds(server, "ann@example.org", PASSWORD, search=by_mail)
    assert not holds(server, "both@example.org", PASSWORD, search=by_mail)


def test_who_is_not_found_costs_a_bind_as_well(server):
    binds = []
    for name in ("ann", "nobody", "both@example.org"):
        before = server.binds()
        assert not holds(server, name, "wrong", search={"filter": "(|(uid={user})(mail={user}))"})
        binds.append(server.binds() - before)
    assert binds == [2, 2, 2]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"search": {"password": "not that"}}, "it refuses clients.ldap.search.bind_dn.*INVALID_CREDENTIALS"),
        ({"search": {"base": f"ou=none,{BASE}"}}, "it answers the search in ou=none.*NO_SUCH_OBJECT"),
        ({"starttls": True}, "its certificate does not hold: self-signed certificate"),
    ],
)
def test_what_is_wrong_is_named(server, more, why):
    with pytest.raises(DirectoryError, match=why):
        holds(server, "ann", PASSWORD, **more)


def test_a_certificate_of_another_name_does_not_hold(server, tmp_path):
    other = make_certificate(tmp_path, "ldap.example")
    with (
        slapd(tmp_path / "slapd", other) as running,
        pytest.raises(DirectoryError, match="IP address mismatch"),
    ):
        holds(running, "ann", PASSWORD, starttls=True, ca=str(other[0]))


def test_a_renewed_certificate_holds_once_it_is_in_the_file_of_ca(server, certificate, tmp_path):
    """The worker that asks is not started again for that."""
    ca = make_certificate(tmp_path, "127.0.0.1")[0]
    given = {"uri": server.uri, "timeout": "10s", "bind": TEMPLATE, "starttls": True, "ca": str(ca)}
    directory = Ldap(LdapSettings.model_validate(given))
    with pytest.raises(DirectoryError, match="its certificate does not hold"):
        asyncio.run(directory.holds("ann", PASSWORD))
    ca.write_bytes(certificate[0].read_bytes())
    assert asyncio.run(directory.holds("ann", PASSWORD))


def test_nobody_listens(server):
    with pytest.raises(DirectoryError, match=r"ldap://127\.0\.0\.1:1: Connection refused"):
        holds(1, "ann", PASSWORD)


def answer(message_id: int, code: LDAPResultCode, kind=BindResponse, words: str = "") -> bytes:
    result = LDAPResult(code, "", words, None)
    more = {"server_sasl_creds": None} if kind is BindResponse else {"name": None, "value": None}
    return bytes(kind(message_id=message_id, controls=[], result=result, **more).pack(PackingOptions()))


def asked_of(converse, **more: object) -> bool:
    """Ask a directory that answers what `converse` writes."""

    async def scene():
        async def serve(reader, writer):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await converse(reader, writer)
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        given = {"uri": f"ldap://127.0.0.1:{port}", "bind": TEMPLATE, "timeout": "10s"} | more
        async with server:
            return await Ldap(LdapSettings.model_validate(given)).holds("ann", PASSWORD)

    return asyncio.run(scene())


def says(*pieces: bytes):
    async def converse(reader, writer):
        await reader.read(4096)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        await reader.read()

    return converse


@pytest.mark.parametrize(
    ("pieces", "right"),
    [
        ([answer(1, LDAPResultCode.SUCCESS)], True),
        ([answer(1, LDAPResultCode.SUCCESS)[:5], answer(1, LDAPResultCode.SUCCESS)[5:]], True),
        ([answer(1, LDAPResultCode.UNWILLING_TO_PERFORM)], False),  # such as a locked account
        ([answer(1, LDAPResultCode.SASL_BIND_IN_PROGRESS)], False),
        ([answer(1, LDAPResultCode(4096))], False),
    ],
)
def test_what_counts_as_yes(pieces, right):
    assert asked_of(says(*pieces)) is right


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([answer(2, LDAPResultCode.SUCCESS)], "does not speak LDAP as it should"),
        ([answer(1, LDAPResultCode.SUCCESS, ExtendedResponse)], "ExtendedResponse answers a bind"),
        ([answer(1, LDAPResultCode.BUSY)], "answers a user's bind with BUSY"),
        ([answer(1, LDAPResultCode.REFERRAL)], "answers a user's bind with REFERRAL"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not speak LDAP as it should"),
        ([b"\x30\x84\x7f\xff\xff\xff" + bytes(MOST_BYTES)], f"more than {MOST_BYTES} bytes"),
    ],
)
def test_what_is_no_answer(pieces, why):
    with pytest.raises(DirectoryError, match=why):
        asked_of(says(*pieces))


def test_it_hangs_up():
    async def converse(reader, writer):
        await reader.read(4096)

    with pytest.raises(DirectoryError, match="it hung up"):
        asked_of(converse)


def test_no_answer_in_time():
    with pytest.raises(DirectoryError, match=r"no answer within 0\.05 s"):
        asked_of(says(), timeout="50ms")


def injecting(certificate, start_tls: bytes):
    """Return a directory that agrees to TLS, then says no; somebody on the way puts a yes between."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def converse(reader, writer):
        await reader.read(4096)
        writer.write(start_tls + answer(1, LDAPResultCode.SUCCESS))
        await writer.start_tls(context)
        await reader.read(4096)
        writer.write(answer(1, LDAPResultCode.INVALID_CREDENTIALS))
        await reader.read()

    return converse


def test_what_came_before_tls_answers_nothing(certificate):
    tls = {"starttls": True, "ca": str(certificate[0])}
    agreed = answer(1, LDAPResultCode.SUCCESS, ExtendedResponse)
    with pytest.raises(DirectoryError, match="does not speak LDAP as it should"):
        asked_of(injecting(certificate, agreed), **tls)
    words = "a" * (PIECE_BYTES - len(answer(1, LDAPResultCode.SUCCESS, ExtendedResponse, "a" * 1000)) + 1000)
    agreed = answer(1, LDAPResultCode.SUCCESS, ExtendedResponse, words)
    assert len(agreed) == PIECE_BYTES, "the yes stays in the reader's buffer"
    assert not asked_of(injecting(certificate, agreed), **tls)


def test_a_directory_that_refuses_tls_gets_no_password(certificate):
    seen = []

    async def converse(reader, writer):
        seen.append(await reader.read(4096))
        writer.write(answer(1, LDAPResultCode.PROTOCOL_ERROR, ExtendedResponse))
        seen.append(await reader.read(4096))

    with pytest.raises(DirectoryError, match="it refuses StartTLS: PROTOCOL_ERROR"):
        asked_of(converse, starttls=True, ca=str(certificate[0]))
    assert PASSWORD.encode() not in b"".join(seen)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(st.integers(0, 30), st.integers(0, 255)).map(
            lambda change: bytes(
                change[1] if at == change[0] else byte
                for at, byte in enumerate(answer(1, LDAPResultCode.INVALID_CREDENTIALS))
            )
        ),
    )
)
@example(bytes.fromhex("30020200"))  # a number without a byte
def test_damaged_answers_are_no_and_no_crash(raw):
    async def converse(reader, writer):
        await reader.read(4096)
        writer.write(raw)
        await writer.drain()

    with contextlib.suppress(DirectoryError):
        asked_of(converse)


def test_the_server_of_sansldap_reads_what_is_sent():
    """The password goes as it is, in UTF-8, with the name of the user as one value."""
    seen = []

    async def converse(reader, writer):
        seen.extend(LDAPServer().receive(await reader.read(4096)))
        writer.write(answer(1, LDAPResultCode.SUCCESS))
        await reader.read()

    assert asked_of(converse)
    assert (seen[0].name, seen[0].authentication.password) == (f"uid=ann,{PEOPLE}", PASSWORD)
