"""Making the certificate authority, once, before any worker starts, and mending what it gives away."""

import datetime as dt
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from mitmproxy.certs import DEFAULT_DHPARAM

from secondlook.ground.files import write_whole
from secondlook.proxy.mitm.tls.certificates import Key, new_key
from secondlook.run.diagnosis.authority_check import DamagedAuthorityError, read_certificate
from secondlook.run.supervisor.authority_files import AUTHORITY, CERTIFICATES, PARAMETERS, whole, whole_pem

_VALID: Final = dt.timedelta(days=3650)
_BACKDATED: Final = dt.timedelta(days=2)  # for clients whose clock is behind
_WRITTEN: Final = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)  # this program: a clock that is before it is wrong
_LONGEST_NAME = 64  # of a common name (X.520, ub-common-name)


def make_authority(folder: Path, kind: str) -> None:
    """Make the authority's files as mitmproxy names them, readable by their owner alone.

    `kind` is that of the key of a new one: `ecdsa` or `rsa`. A copy of the certificate that is missing or
    damaged is written anew. Raises OSError, DamagedAuthorityError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = folder / AUTHORITY
    before = os.umask(0o077)
    try:
        if not own.exists():
            renew_authority(folder, kind)
            return
        read_certificate(own)
        certificate = _anchor(own).public_bytes(Encoding.PEM)
        for name in CERTIFICATES:
            if not whole(folder, name):
                write_whole(folder / name, certificate)
        if not whole_pem(folder / PARAMETERS):  # public numbers, which mitmproxy writes again
            (folder / PARAMETERS).unlink(missing_ok=True)
    finally:
        os.umask(before)


def renew_authority(folder: Path, kind: str) -> None:
    """Put a new authority in the place of the one that is there, which stays where that fails. OSError."""
    key = new_key(kind)
    certificate = _certificate(key, f"Second Look ({socket.gethostname()}"[: _LONGEST_NAME - 1] + ")")
    put_authority(folder, key, (certificate,))


def put_authority(folder: Path, key: Key, chain: Sequence[x509.Certificate]) -> None:
    """Put an authority in the place of the one that is there: its certificate, and those above. OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        _put(folder, key, chain)
    finally:
        os.umask(before)


def _anchor(own: Path) -> x509.Certificate:
    """Return what clients are given to trust: the topmost certificate of the authority's file."""
    return x509.load_pem_x509_certificates(own.read_bytes())[-1]


def _put(folder: Path, key: Key, chain: Sequence[x509.Certificate]) -> None:
    """Make everything beside, then put it in place: its own file last, which marks that all is there."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    certificate, *above = chain
    public = chain[-1].public_bytes(Encoding.PEM)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as made:
        for name, content in {
            **dict.fromkeys(CERTIFICATES, public),
            "mitmproxy-ca-cert.p12": _pkcs12(None, chain[-1], ()),
            "mitmproxy-ca.p12": _pkcs12(key, certificate, above),
            PARAMETERS: DEFAULT_DHPARAM,
            AUTHORITY: secret + b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        }.items():
            with (Path(made) / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in sorted(Path(made).iterdir(), key=lambda path: path.name == AUTHORITY):
            path.replace(folder / path.name)


def _pkcs12(key: Key | None, certificate: x509.Certificate, above: Sequence[x509.Certificate]) -> bytes:
    """Write what Windows imports by a double click."""
    others = list(above) or None
    return pkcs12.serialize_key_and_certificates(b"Second Look", key, certificate, others, NoEncryption())


def validity(now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Return since and until when an authority made now holds: by a clock that is set right later, too."""
    return min(now, _WRITTEN) - _BACKDATED, max(now, _WRITTEN) + _VALID


def _certificate(key: Key, name: str) -> x509.Certificate:
    """Sign an authority's own certificate (RFC 5280, 4.2.1)."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Second Look"),
        ]
    )
    since, until = validity(dt.datetime.now(dt.UTC))
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder(issuer_name=subject, subject_name=subject, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


if __name__ == "__main__":
    try:
        make_authority(Path(sys.argv[1]), sys.argv[2])
    except (OSError, DamagedAuthorityError) as error:
        sys.stderr.write(f"secondlook: {error}\n")
        sys.exit(1)
