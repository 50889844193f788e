"""The authority's own file: a key that browsers take, and the certificate that belongs to it."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as elliptic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from secondlook.run.authority import AUTHORITY, make_authority
from secondlook.run.diagnosis.authority_check import DamagedAuthorityError, read_certificate

PKCS8 = (Encoding.PEM, PrivateFormat.PKCS8)


@pytest.fixture
def own(tmp_path):
    """The file of a new authority."""
    make_authority(tmp_path, "ecdsa")
    return tmp_path / AUTHORITY


def signed_by(key) -> bytes:
    """A certificate that a key signed for itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "own")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    return builder.sign(key, None).public_bytes(Encoding.PEM)


def certificate_in(pem: bytes) -> bytes:
    return pem[pem.index(b"-----BEGIN CERTIFICATE") :]


def test_the_certificate_of_a_new_authority_is_read(own):
    certificate = read_certificate(own)
    assert certificate.public_bytes(Encoding.PEM) in own.read_bytes()


def damage(pem: bytes) -> dict[str, bytes]:
    other = elliptic(SECP256R1())
    return {
        "empty": b"",
        "cut": pem[: len(pem) // 2],
        "no key": certificate_in(pem),
        "no certificate": pem[: pem.index(b"-----BEGIN CERTIFICATE")],
        "the key of another": other.private_bytes(*PKCS8, NoEncryption()) + certificate_in(pem),
        "a key behind a password": other.private_bytes(*PKCS8, BestAvailableEncryption(b"x"))
        + certificate_in(pem),
    }


@pytest.mark.parametrize(
    "kind", ["empty", "cut", "no key", "no certificate", "the key of another", "a key behind a password"]
)
def test_a_damaged_file_is_named_with_the_remedy(own, kind):
    own.write_bytes(damage(own.read_bytes())[kind])
    with pytest.raises(DamagedAuthorityError, match=r"is damaged.*setup ca --renew") as refused:
        read_certificate(own)
    assert str(own) in str(refused.value)


def test_a_kind_of_key_that_browsers_do_not_take_is_refused(own):
    key = Ed25519PrivateKey.generate()
    own.write_bytes(key.private_bytes(*PKCS8, NoEncryption()) + signed_by(key))
    with pytest.raises(DamagedAuthorityError, match="neither RSA nor on an elliptic curve"):
        read_certificate(own)


def test_a_file_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_certificate(tmp_path / "none.pem")
