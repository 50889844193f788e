"""The authority's files: made once, the certificate's copies mended, damage of the key told. 1 s."""

import datetime as dt
import os
import socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mitmproxy.certs import CertStore

from secondlook.run.authority import make_authority, validity
from secondlook.run.diagnosis.authority_check import DamagedAuthorityError, read_certificate
from secondlook.run.supervisor.authority_files import AUTHORITY, CERTIFICATES, PARAMETERS, whole


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority") / "ca"
    make_authority(folder, "ecdsa")
    return folder


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_damaged_or_missing_copy_is_written_anew(made, name):
    path = made / name
    good, key = path.read_bytes(), (made / AUTHORITY).read_bytes()
    for damage in (b"", good[: len(good) // 2], b"\xff" * len(good), None):
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        assert not whole(made, name)
        make_authority(made, "ecdsa")
        assert path.read_bytes() == good
        assert whole(made, name)
    assert (made / AUTHORITY).read_bytes() == key
    assert (made / AUTHORITY).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kept", [0, 100, 600])
def test_a_damaged_authority_is_named_and_left_alone(made, tmp_path, kept):
    (tmp_path / AUTHORITY).write_bytes((made / AUTHORITY).read_bytes()[:kept])
    with pytest.raises(DamagedAuthorityError, match=rf"{AUTHORITY} is damaged.*--renew"):
        make_authority(tmp_path, "ecdsa")
    assert (tmp_path / AUTHORITY).stat().st_size == kept


def test_an_authority_is_there_whole_or_not_at_all(made, tmp_path, monkeypatch):
    synced: list[int] = []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            make_authority(tmp_path, "ecdsa")
    assert list(tmp_path.iterdir()) == []
    make_authority(tmp_path, "ecdsa")
    assert whole(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in made.iterdir()}


def test_the_certificate_of_another_key_is_damage(made, tmp_path):
    make_authority(tmp_path, "ecdsa")
    own = (tmp_path / AUTHORITY).read_bytes()
    key, _, _ = own.partition(b"-----BEGIN CERTIFICATE-----")
    (tmp_path / AUTHORITY).write_bytes(key + (made / CERTIFICATES[0]).read_bytes())
    with pytest.raises(DamagedAuthorityError):
        make_authority(tmp_path, "ecdsa")


def test_a_kind_of_key_that_browsers_do_not_take_is_refused_in_words(tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Another")])
    since = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 1, since, since + dt.timedelta(3650)
    ).sign(key, None)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / AUTHORITY).write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    with pytest.raises(DamagedAuthorityError, match="neither RSA nor on an elliptic curve"):
        make_authority(tmp_path, "ecdsa")


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN DH PARAMETERS-----\nMII"])
def test_damaged_parameters_are_written_anew(made, damage):
    (made / PARAMETERS).write_bytes(damage)
    make_authority(made, "ecdsa")
    CertStore.from_store(made, "mitmproxy", 2048)
    assert (made / PARAMETERS).read_bytes().rstrip().endswith(b"-----")


@pytest.mark.parametrize(("kind", "key"), [("ecdsa", ec.EllipticCurvePublicKey), ("rsa", rsa.RSAPublicKey)])
def test_a_new_authority_has_a_key_of_the_kind_asked_for_and_a_name_that_people_find(tmp_path, kind, key):
    make_authority(tmp_path, kind)
    certificate = read_certificate(tmp_path / AUTHORITY)
    assert isinstance(certificate.public_key(), key)
    assert certificate.subject.rfc4514_string() == f"O=Second Look,CN=Second Look ({socket.gethostname()})"
    assert CertStore.from_store(tmp_path, "mitmproxy", 2048).default_ca.is_ca


def test_an_authority_that_is_there_stays_of_its_kind(tmp_path):
    make_authority(tmp_path, "rsa")
    before = (tmp_path / AUTHORITY).read_bytes()
    make_authority(tmp_path, "ecdsa")
    assert (tmp_path / AUTHORITY).read_bytes() == before


def test_the_name_of_a_host_is_cut_to_what_a_certificate_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 64)
    make_authority(tmp_path, "ecdsa")
    name = read_certificate(tmp_path / AUTHORITY).subject.rfc4514_string()
    assert name == f"O=Second Look,CN=Second Look ({'h' * 50})"


@pytest.mark.parametrize("year", [1970, 2027, 2060])
def test_an_authority_holds_whatever_the_clock_was_when_it_was_made(year):
    since, until = validity(dt.datetime(year, 1, 1, tzinfo=dt.UTC))
    for day in (dt.datetime(year, 1, 1, tzinfo=dt.UTC), dt.datetime(2035, 1, 1, tzinfo=dt.UTC)):
        assert since < day < until
