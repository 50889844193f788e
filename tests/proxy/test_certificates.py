"""Certificates for sites: on a key of their own, good for strict clients, whatever the authority's key. 2 s."""

import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store
from mitmproxy.certs import CertStore
from OpenSSL.crypto import X509, PKey

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.proxy import RunningProxy
from secondlook.proxy.mitm.tls.certificates import MADE_ANEW_S, MOST_NAMES, SiteCertificates, new_key
from secondlook.run.authority import make_authority

FILE = Path("authority.pem")  # read when TLS begins
NAMES = [x509.DNSName("shop.example"), x509.DNSName("www.shop.example")]


@pytest.fixture(scope="module", params=["ecdsa", "rsa"])
def store(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder, request.param)
    return CertStore.from_store(folder, "mitmproxy", 2048)


@pytest.mark.parametrize(("kind", "key"), [("ecdsa", ec.EllipticCurvePublicKey), ("rsa", rsa.RSAPublicKey)])
def test_a_site_gets_a_key_that_is_not_the_authority_s(store, kind, key):
    made = SiteCertificates(store, new_key(kind), FILE).get_cert("shop.example", NAMES, "Shop")
    assert isinstance(made.cert.public_key(), key)
    assert made.cert.public_key() == made.privatekey.public_key() != store.default_ca.public_key()
    roots = Store([store.default_ca.to_cryptography()])
    for name in NAMES:
        verifier = PolicyBuilder().store(roots).build_server_verifier(name)
        assert len(verifier.verify(made.cert.to_cryptography(), [])) == 2
    assert (made.cert.cn, made.cert.organization) == ("shop.example", "Shop")


def test_a_name_that_is_longer_than_a_common_name_stands_among_the_others_alone(store):
    name = ".".join(["a" * 60, "b" * 60, "example"])
    made = SiteCertificates(store, new_key("ecdsa"), FILE).get_cert(name, [x509.DNSName(name)])
    assert made.cert.cn is None
    names = made.cert.to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert names.value.get_values_for_type(x509.DNSName) == [name]


def test_a_certificate_is_made_once_and_again_before_it_is_over(store):
    now = begun = 1_790_000_000.0
    certificates = SiteCertificates(store, new_key("ecdsa"), FILE, lambda: now)
    first = certificates.get_cert("shop.example", NAMES)
    now = begun + MADE_ANEW_S - 1
    assert certificates.get_cert("shop.example", NAMES) is first
    assert certificates.get_cert("shop.example", NAMES, "Shop") is not first
    now = begun + MADE_ANEW_S
    assert certificates.get_cert("shop.example", NAMES).cert.serial != first.cert.serial


@pytest.mark.parametrize(("begun", "now"), [(0.0, 1_790_000_000.0), (1_900_000_000.0, 1_790_000_000.0)])
def test_no_certificate_outlives_a_clock_that_was_wrong(store, begun, now):
    times = [begun, now, now]
    certificates = SiteCertificates(store, new_key("ecdsa"), FILE, lambda: times.pop(0))
    certificates.get_cert("shop.example", NAMES)
    kept = certificates.get_cert("shop.example", NAMES).cert.to_cryptography()
    assert kept.not_valid_before_utc.timestamp() < now < kept.not_valid_after_utc.timestamp()


def test_openssl_s_form_of_a_certificate_and_of_a_key_is_made_once(store):
    entry, other = (store.get_cert(name, [x509.DNSName(name)]) for name in ("a.test", "b.test"))
    certificate = entry.cert.to_cryptography()
    made = X509.from_cryptography(certificate)
    assert X509.from_cryptography(certificate) is made
    assert made.to_cryptography() == certificate
    assert X509.from_cryptography(other.cert.to_cryptography()) is not made
    assert PKey.from_cryptography_key(entry.privatekey) is PKey.from_cryptography_key(other.privatekey)
    assert PKey.from_cryptography_key(new_key("ecdsa")) is not PKey.from_cryptography_key(entry.privatekey)


def test_one_of_very_many_names_is_not_kept(store):
    certificates = SiteCertificates(store, new_key("ecdsa"), FILE)
    for number, kept in ((MOST_NAMES, True), (MOST_NAMES + 1, False)):
        names = [x509.DNSName(f"{each}.test") for each in range(number)]
        first = certificates.get_cert("0.test", names)
        assert (certificates.get_cert("0.test", names) is first) is kept


def test_a_certificate_that_the_operator_gave_comes_first(store, tmp_path):
    given = SiteCertificates(store, new_key("ecdsa"), FILE).get_cert(
        "shop.example", [x509.DNSName("*.shop.example")]
    )
    file = tmp_path / "shop.pem"
    secret = given.privatekey.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    file.write_bytes(secret + given.cert.to_pem())
    store.add_cert_file("*.shop.example", file)
    try:
        certificates = SiteCertificates(store, new_key("ecdsa"), FILE)
        named = certificates.get_cert("www.shop.example", [x509.DNSName("www.shop.example")])
        assert named.cert.serial == given.cert.serial
        other = certificates.get_cert("other.example", [x509.DNSName("other.example")])
        assert other.cert.serial != given.cert.serial
    finally:
        store.certs.clear()


@pytest.fixture(params=[("ecdsa", "ecdsa"), ("rsa", "ecdsa"), ("rsa", "rsa")], ids=" authority, sites ".join)
def proxy(request, tmp_path):
    authority, sites = request.param
    make_authority(tmp_path / "ca", authority)
    proxy = RunningProxy(tmp_path, FakeGatekeeper(), ca=sites)
    yield sites, proxy
    proxy.close()


def test_clients_of_both_kinds_shake_hands(proxy, tmp_path):
    """A client of TLS 1.2 that knows one kind of signatures alone reads our site where that is the kind."""
    sites, running = proxy
    for ciphers, wanted in (("ECDHE+ECDSA", "ecdsa"), ("ECDHE+aRSA", "rsa")):
        context = ssl.create_default_context(cafile=tmp_path / "ca" / "mitmproxy-ca-cert.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as plain:
            plain.sendall(
                b"CONNECT secondlook.internal:443 HTTP/1.1\r\nHost: secondlook.internal:443\r\n\r\n"
            )
            assert plain.recv(4096).startswith(b"HTTP/1.1 200")
            if sites != wanted:
                with pytest.raises(ssl.SSLError):
                    context.wrap_socket(plain, server_hostname="secondlook.internal")
                continue
            with context.wrap_socket(plain, server_hostname="secondlook.internal") as secure:
                secure.sendall(b"GET / HTTP/1.1\r\nHost: secondlook.internal\r\nConnection: close\r\n\r\n")
                assert secure.recv(4096).startswith(b"HTTP/1.1 200")


def test_clients_are_sent_the_authority_s_certificate_too(proxy, tmp_path):
    """Once, however many connections share a context of OpenSSL."""
    _, running = proxy
    authority = ssl.PEM_cert_to_DER_cert((tmp_path / "ca" / "mitmproxy-ca-cert.pem").read_text("ascii"))
    context = ssl.create_default_context(cafile=tmp_path / "ca" / "mitmproxy-ca-cert.pem")
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as plain:
            plain.sendall(
                b"CONNECT secondlook.internal:443 HTTP/1.1\r\nHost: secondlook.internal:443\r\n\r\n"
            )
            assert plain.recv(4096).startswith(b"HTTP/1.1 200")
            with context.wrap_socket(plain, server_hostname="secondlook.internal") as secure:
                leaf, *rest = secure.get_unverified_chain()
                assert rest == [authority]
                assert leaf != authority
