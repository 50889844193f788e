"""Taking an authority of the company in place of one of our own: an intermediate of its PKI, with its chain.

What browsers would refuse later is refused here, in words: what is no authority, is over or not begun, may
not sign for every site, or has a chain with a gap.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from secondlook.ground.errors import SecondLookError
from secondlook.proxy.mitm.tls.certificates import Key

MOST_BYTES: Final = 1 << 20  # of each file
_RSA_BITS: Final = 2048
_CURVES: Final = (SECP256R1, SECP384R1, SECP521R1)


class RefusedAuthorityError(SecondLookError):
    """An authority that cannot be taken; the message names the reason and what was expected."""


def read_authority(
    certificates: Path, key: Path, now: dt.datetime
) -> tuple[Key, tuple[x509.Certificate, ...]]:
    """Read an authority's key, and its certificate followed by those above it, in whatever order they stand.

    Raises RefusedAuthorityError.
    """
    secret = _key(key)
    given = _certificates(certificates)
    own = next((each for each in given if each.public_key() == secret.public_key()), None)
    if own is None:
        raise RefusedAuthorityError(f"{key} belongs to no certificate in {certificates}")
    chain = _chain(own, given, certificates)
    for depth, each in enumerate(chain):
        _check(each, depth, now)
    return secret, chain


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RefusedAuthorityError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise RefusedAuthorityError(f"{path} is too long: expected at most {MOST_BYTES:,} bytes of PEM")
    return content


def _key(path: Path) -> Key:
    raw = _read(path)
    try:
        found = load_pem_private_key(raw, None)
    except TypeError as error:
        raise RefusedAuthorityError(
            f"{path} is encrypted: expected a key without a passphrase (openssl pkey -in … -out …)"
        ) from error
    except ValueError as error:
        raise RefusedAuthorityError(f"{path} holds no private key in PEM") from error
    if isinstance(found, RSAPrivateKey) and found.key_size >= _RSA_BITS:
        return found
    if isinstance(found, EllipticCurvePrivateKey) and isinstance(found.curve, _CURVES):
        return found
    raise RefusedAuthorityError(
        f"{path} is of a kind that browsers take from no authority: expected RSA of {_RSA_BITS} bits or "
        "more, or P-256, P-384 or P-521"
    )


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise RefusedAuthorityError(f"{path} holds no certificate in PEM") from error


def _chain(
    own: x509.Certificate, given: Sequence[x509.Certificate], path: Path
) -> tuple[x509.Certificate, ...]:
    """Order a certificate and those above it, each signed by the next."""
    chain, left = [own], [each for each in dict.fromkeys(given) if each != own]
    while above := next((each for each in left if _is_signed(chain[-1], each)), None):
        chain.append(above)
        left.remove(above)
    if left:
        raise RefusedAuthorityError(
            f"{_name(left[0])} in {path} is not above {_name(chain[-1])}, which it did not sign: expected "
            "the authority's certificate and those above it, without a gap"
        )
    return tuple(chain)


def _is_signed(certificate: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check(certificate: x509.Certificate, depth: int, now: dt.datetime) -> None:
    """Refuse what cannot stand in the chain, `depth` authorities above the one that signs for sites."""
    name = _name(certificate)
    if certificate.not_valid_after_utc <= now:
        raise RefusedAuthorityError(f"{name} is over since {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        raise RefusedAuthorityError(f"{name} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d}")
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is None or not basic.ca:
        raise RefusedAuthorityError(
            f"{name} is no authority: expected a certificate that may sign others (CA:TRUE)"
        )
    if basic.path_length is not None and basic.path_length < depth:
        raise RefusedAuthorityError(
            f"{name} allows {basic.path_length} authorities below it (pathlen), and here are {depth}"
        )
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise RefusedAuthorityError(f"{name} may sign no certificates (its key usage has no keyCertSign)")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    for_sites = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purposes is not None and not for_sites & set(purposes):
        raise RefusedAuthorityError(f"{name} is not for web sites (its extended key usage has no serverAuth)")
    if _extension(certificate, x509.NameConstraints) is not None:
        raise RefusedAuthorityError(
            f"{name} is limited to some names (name constraints): browsers would refuse it for all others"
        )


def _extension[E: x509.ExtensionType](certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(certificate: x509.Certificate) -> str:
    return f"“{certificate.subject.rfc4514_string()}”"
