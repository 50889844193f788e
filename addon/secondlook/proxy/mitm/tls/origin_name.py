"""For which name an origin's certificate has to be, where OpenSSL takes that name for none.

OpenSSL 4 compares no name with a label that begins or ends with a hyphen, or with a dot at its end. Browsers
do, and such sites exist; mitmproxy's hook breaks over one, with a traceback for each try (docs/upstream.md).
Here the name is compared by us, and everything else of the certificate by OpenSSL.
"""

import ipaddress
from contextlib import suppress
from functools import partial

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509

STAND_IN = "name.invalid"  # for mitmproxy, until the true name is put in its place
_lib, _ffi = SSL._lib, SSL._ffi  # type: ignore[attr-defined]  # noqa: SLF001


def sni_of(host: str) -> str:
    """Return a host's name as TLS has it: without a dot at its end (RFC 6066, 3)."""
    return host.removesuffix(".")


def is_compared(name: str) -> bool:
    """Return whether OpenSSL compares a name with those of a certificate; an address it always does."""
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    parameters = _lib.X509_VERIFY_PARAM_new()
    try:
        wanted = name.encode("idna")
        taken = bool(_lib.X509_VERIFY_PARAM_set1_host(parameters, wanted, len(wanted)) == 1)
    except UnicodeError:
        return False
    finally:
        _lib.X509_VERIFY_PARAM_free(parameters)
        _lib.ERR_clear_error()
    return taken


def compare(tls: SSL.Connection, name: str, *, verify: bool) -> None:
    """Have a connection ask for a name that OpenSSL does not compare, and have it compared here."""
    tls.set_tlsext_host_name(name.encode("ascii"))
    _lib.X509_VERIFY_PARAM_set1_host(_lib.SSL_get0_param(tls._ssl), _ffi.NULL, 0)  # noqa: SLF001
    if verify:
        tls.set_verify(SSL.VERIFY_PEER, partial(_is_right, name))


def _is_right(name: str, _tls: SSL.Connection, found: X509, _error: int, depth: int, ok: int) -> bool:
    return bool(ok) and (depth > 0 or is_for(name, found.to_cryptography()))


def is_for(name: str, certificate: x509.Certificate) -> bool:
    """Return whether a certificate is for a name, or for `*` in place of its first label (RFC 9525, 6.3)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    wanted = name.lower()
    above = wanted.partition(".")[2]
    names = {each.lower() for each in extension.value.get_values_for_type(x509.DNSName)}
    return wanted in names or ("." in above and f"*.{above}" in names)
