"""TLS sessions are taken up again: by whom they were made, with the same checks, and not for ever."""

import contextlib
import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mitmproxy.net import tls as net_tls
from OpenSSL import SSL

from e2e.processes import make_certificate
from proxykit.nginx import Nginx, nginx
from secondlook.proxy.mitm.tls.tls_sessions import (
    EACH,
    KEYS_S,
    LASTS_S,
    OriginSessions,
    TicketKeys,
    keep_session,
)

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
REUSED = "r"  # nginx's $ssl_session_reused


@pytest.fixture(params=VERSIONS, scope="module")
def origin(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Nginx, Path]]:
    """nginx that says whether a session was taken up, and its certificate."""
    tmp_path = tmp_path_factory.mktemp("sessions")
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    more = f"ssl_protocols {request.param}; add_header X-Session $ssl_session_reused always;"
    with nginx(tmp_path / "nginx", certificate, key, more) as running:
        (running.root / "page.html").write_text("page")
        yield running, certificate


@pytest.fixture
def session(curl, make_proxy, origin) -> Callable[..., str]:
    """Ask an origin over a new connection; gives what it says of the session."""
    running, certificate = origin
    proxy = make_proxy(mitmproxy={"ssl_verify_upstream_trusted_ca": str(certificate)})

    def ask(*options: str, http2: bool = False) -> str:
        url = f"https://127.0.0.1:{running.http2 if http2 else running.tls}/page.html"
        done = curl(proxy, *options, "-o", "/dev/null", "-w", "%{http_code} %header{x-session}", url)
        assert not done.returncode, done.stderr
        status, _, said = done.stdout.decode().partition(" ")
        assert status == "200"
        return said

    return ask


@pytest.mark.parametrize("http2", [False, True])
def test_a_client_that_comes_again_finds_its_session_with_the_origin(session, http2):
    said = [session("--http2" if http2 else "--http1.1", http2=http2) for _ in range(3)]
    assert said == [".", REUSED, REUSED]


def test_another_client_does_not(session):
    assert session() == "."
    assert session("--interface", "127.0.0.2") == "."
    assert session("--interface", "127.0.0.2") == REUSED


def test_other_protocols_are_another_session(session):
    assert session("--http1.1") == "."
    assert session("--no-alpn") == "."


@pytest.mark.parametrize("version", VERSIONS.values())
@pytest.mark.parametrize("asked", [False, True])
def test_a_client_takes_its_own_session_up(make_proxy, make_origin, version, asked):
    """Also where clients are asked for a certificate: OpenSSL would end the second handshake."""

    async def reply(_asked, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin = make_origin(reply, tls=True)
    proxy = make_proxy(mitmproxy={"ssl_insecure": True, "request_client_cert": asked})
    context = ssl.create_default_context(cafile=proxy.ca)
    context.maximum_version = version
    kept = None
    reused = []
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as raw:
            raw.sendall(f"CONNECT 127.0.0.1:{origin.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b" 200 " in raw.recv(1000)
            with context.wrap_socket(raw, server_hostname="127.0.0.1", session=kept) as tls:
                tls.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode())
                assert tls.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
                kept = tls.session
                reused.append(tls.session_reused)
    assert reused[0] is False
    assert reused[-1] is True


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accepting(origin_certificate: Path) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate_file(str(origin_certificate))
    context.use_privatekey_file(str(origin_certificate))
    return context


def talk(sessions: OriginSessions, accepting: SSL.Context, context: SSL.Context) -> SSL.Connection:
    """Have a client of a context connect, with a session where there is one, and keep the next."""
    here, there = SSL.Connection(accepting), SSL.Connection(context)
    here.set_accept_state()
    there.set_connect_state()
    sessions.offer(there, "key")
    for end, other in ((there, here), (here, there)) * 2:
        with contextlib.suppress(SSL.WantReadError):
            end.do_handshake()
        with contextlib.suppress(SSL.WantReadError):
            other.bio_write(end.bio_read(1 << 16))
    here.sendall(b"x")
    there.bio_write(here.bio_read(1 << 16))
    assert there.recv(1) == b"x"
    keep_session(there)
    return there


def is_reused(tls: SSL.Connection) -> bool:
    return bool(SSL._lib.SSL_session_reused(tls._ssl))


@pytest.mark.parametrize("lasting", [True, False])
def test_a_session_outlives_its_connection_and_knows_the_certificate(accepting, lasting):
    sessions, context = OriginSessions(), SSL.Context(SSL.TLS_METHOD)
    first = talk(sessions, accepting, context)
    chain = [cert.to_cryptography() for cert in first.get_peer_cert_chain()]
    if not lasting:
        del first
        gc.collect()
    again = talk(sessions, accepting, context)
    assert is_reused(again)
    assert chain == [cert.to_cryptography() for cert in again.get_peer_cert_chain()]


def test_a_session_is_never_taken_up_where_its_certificate_must_be_checked(accepting):
    sessions = OriginSessions()
    talk(sessions, accepting, SSL.Context(SSL.TLS_METHOD))
    checking = SSL.Context(SSL.TLS_METHOD)
    checking.set_verify(SSL.VERIFY_PEER)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        talk(sessions, accepting, checking)


def test_a_session_is_used_once_and_a_few_are_kept(accepting):
    sessions, context = OriginSessions(), SSL.Context(SSL.TLS_METHOD)
    for _ in range(EACH + 1):
        talk(OriginSessions(), accepting, context)
        there = talk(sessions, accepting, context)
    assert is_reused(there)
    taken = []
    for _ in range(EACH + 1):
        tls = SSL.Connection(context)
        tls.set_connect_state()
        sessions.offer(tls, "key")
        taken.append(tls.get_session() is not None)
    assert taken == [True, *[False] * EACH]


@pytest.mark.parametrize(("age_s", "taken"), [(LASTS_S - 1, True), (LASTS_S, False)])
def test_an_old_session_is_not_offered(accepting, clock, age_s, taken):
    sessions, context = OriginSessions(clock), SSL.Context(SSL.TLS_METHOD)
    talk(sessions, accepting, context)
    clock.now += age_s
    assert is_reused(talk(sessions, accepting, context)) is taken


def test_keys_of_tickets_are_made_anew(clock):
    def context() -> SSL.Context:
        return net_tls.create_client_proxy_context(
            method=net_tls.Method.TLS_SERVER_METHOD,
            min_version=net_tls.Version.TLS1_2,
            max_version=net_tls.Version.UNBOUNDED,
            cipher_list=None,
            ecdh_curve=None,
            chain_file=None,
            alpn_select_callback=None,
            request_client_cert=False,
            extra_chain_certs=(),
            dhparams=None,
        )

    keys = TicketKeys(clock)
    first = context()
    clock.now += KEYS_S - 1
    keys.renew()
    assert context() is first
    clock.now += 1
    keys.renew()
    assert context() is not first
