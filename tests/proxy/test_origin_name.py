"""Names that OpenSSL does not compare with a certificate: their origins are verified all the same, and served."""

import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxykit.origin import Asked, Origin, send
from secondlook.proxy.mitm.tls.origin_name import is_compared, is_for, sni_of

ODD = ["-a.test", "a-.test", "x.-a.test"]
NOW = dt.datetime.now(dt.UTC)


def general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def certificate(folder: Path, *names: str) -> Path:
    """Make one that is its own authority; its key is in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "origin")])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "origin.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


async def hello(_: Asked, writer) -> None:
    await send(writer, b"hello")


@pytest.fixture
def ask(tmp_path: Path, make_proxy) -> Callable[..., bytes]:
    """Ask an origin that has a certificate for some names, under one name."""

    def run(name: str, *names: str, trusted: bool = True, at: str = "127.0.0.1") -> bytes:
        pem = certificate(tmp_path, *names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.sni_callback = lambda _tls, sent, _context: asked.append(sent)
        origin = Origin(hello, context, host=at)
        origin.start()
        settings = {"ssl_verify_upstream_trusted_ca": str(pem)} if trusted else {}
        proxy = make_proxy(mitmproxy=settings)
        asked: list[str | None] = []
        try:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as raw:
                there = f"[{at}]" if ":" in at else at
                raw.sendall(f"CONNECT {there}:{origin.port} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                assert b" 200 " in raw.recv(1000)
                trusting = ssl.create_default_context(cafile=proxy.ca)
                trusting.check_hostname = False
                with trusting.wrap_socket(raw, server_hostname=name) as tls:
                    tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                    answer = b"".join(iter(lambda: tls.recv(65536), b""))
        finally:
            origin.close()
        assert asked == [None if name == at else name.removesuffix(".")]
        return answer

    return run


@pytest.mark.parametrize("name", [*ODD, "a.test."])
def test_an_origin_with_such_a_name_is_verified_by_it(ask, name):
    assert ask(name, name.removesuffix(".")).endswith(b"hello")


@pytest.mark.parametrize("name", ["-a.x.test", "a-.x.test"])
def test_the_first_label_may_be_any(ask, name):
    assert ask(name, "*.x.test").endswith(b"hello")


@pytest.mark.parametrize(
    ("name", "other"),
    [("-a.test", "-b.test"), ("a-.test", "*.test"), ("a-.x.test", "x.test"), ("a.test.", "b.test")],
)
def test_an_origin_with_another_name_is_refused(ask, name, other):
    assert b"its certificate does not prove who it is" in ask(name, other)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_is_verified_as_one_and_is_no_name(ask, address):
    assert ask(address, address, at=address).endswith(b"hello")
    assert b"its certificate does not prove who it is" in ask(address, "b.test", at=address)


@pytest.mark.parametrize("name", ODD)
def test_whoever_issued_it_has_to_be_trusted_still(ask, name):
    assert b"its certificate does not prove who it is" in ask(name, name, trusted=False)


def test_what_openssl_compares_is_left_to_it():
    assert all(
        is_compared(name) for name in ("a.test", "a_b.test", "xn--a.test", "127.0.0.1", "::1", "localhost")
    )
    assert not any(is_compared(name) for name in (*ODD, "a..test", "a" * 64 + ".test"))


def test_a_name_has_no_dot_at_its_end():
    assert [sni_of(name) for name in ("a.test.", "a.test", "127.0.0.1")] == ["a.test", "a.test", "127.0.0.1"]


def test_a_certificate_without_names_is_for_nobody():
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "-a.test")])
    bare = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .sign(key, hashes.SHA256())
    )
    assert not is_for("-a.test", bare)
