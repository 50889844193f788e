"""Whether the authority's own file can be used: a key, and the certificate that belongs to it."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificate

from secondlook.ground.errors import SecondLookError
from secondlook.ground.program_name import typed


class DamagedAuthorityError(SecondLookError):
    """The authority's own file cannot be used; the message names it and the remedy."""


def read_certificate(own: Path) -> Certificate:
    """Read the authority's certificate from its own file. Raises OSError, DamagedAuthorityError."""
    raw = own.read_bytes()
    try:
        key = load_pem_private_key(raw, None)
        certificate = load_pem_x509_certificate(raw)
    except (ValueError, TypeError) as error:
        raise _damaged(own) from error
    if certificate.public_key() != key.public_key():
        raise _damaged(own)
    if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
        raise DamagedAuthorityError(
            f"{own} has a key that is neither RSA nor on an elliptic curve, and browsers take no other: "
            f"put one of these kinds there, or make a new authority with `{typed('setup ca --renew')}`"
        )
    return certificate


def _damaged(own: Path) -> DamagedAuthorityError:
    return DamagedAuthorityError(
        f"{own} is damaged; put back a good copy, or make a new authority with "
        f"`{typed('setup ca --renew')}` (browsers have to trust the new one)"
    )
