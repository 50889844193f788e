"""Whom a TLS client of ours believes: the known authorities, one of its own besides, or that one alone."""

import ssl

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from mitmproxy.certs import CertStore

from secondlook.ground.trust import trust, trust_for


@pytest.fixture
def own(tmp_path):
    store = CertStore.from_store(tmp_path, "own", 2048)
    path = tmp_path / "own.pem"
    path.write_bytes(store.default_ca.to_pem())
    return path, ssl.PEM_cert_to_DER_cert(
        store.default_ca.to_cryptography().public_bytes(Encoding.PEM).decode()
    )


def test_certificates_are_verified_with_their_names():
    for context in (trust(), trust(only=True)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_an_own_authority_is_believed_besides_the_known_ones(own):
    path, certificate = own
    known = trust().get_ca_certs(binary_form=True)
    assert len(known) > 50
    assert certificate not in known
    assert set(trust(str(path), None).get_ca_certs(binary_form=True)) == {*known, certificate}


def test_an_own_authority_alone_excludes_all_others(own):
    path, certificate = own
    assert trust(str(path), only=True).get_ca_certs(binary_form=True) == [certificate]


def test_a_file_that_is_no_certificate_is_refused(tmp_path):
    path = tmp_path / "empty.pem"
    path.write_bytes(b"")
    with pytest.raises(ssl.SSLError):
        trust(str(path))
    with pytest.raises(FileNotFoundError):
        trust(str(tmp_path / "missing.pem"))


def test_for_a_url_without_tls_nothing_is_read_and_nobody_believed(own, tmp_path):
    context = trust_for("http://a.test", str(tmp_path / "missing.pem"))
    assert (context.get_ca_certs(), context.verify_mode) == ([], ssl.CERT_REQUIRED)
    path, certificate = own
    assert trust_for("https://a.test", str(path), only=True).get_ca_certs(binary_form=True) == [certificate]


def test_a_file_that_changes_is_believed_anew_and_one_that_is_no_certificate_changes_nothing(own, tmp_path):
    path, certificate = own
    other = CertStore.from_store(tmp_path / "other", "other", 2048).default_ca
    context = trust(str(path), only=True)
    for written, believed in (
        (other.to_pem(), other.to_cryptography().public_bytes(Encoding.DER)),
        (b"half a certificate", other.to_cryptography().public_bytes(Encoding.DER)),
        (ssl.DER_cert_to_PEM_cert(certificate).encode(), certificate),
        (None, certificate),
    ):
        path.unlink() if written is None else path.write_bytes(written)
        assert context.get_ca_certs(binary_form=True) == [believed]
