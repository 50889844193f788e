"""Certificates for sites, as clients of the proxy see them: on keys of their own, kept longer.

mitmproxy gives every site the authority's own key, which then signs in every handshake, with RSA where the
authority is one of RSA. Here a process has one key for all its certificates, made when it starts; the
authority's key signs certificates and nothing else. Either kind of authority signs for either kind of key.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from lru import LRU
from mitmproxy.certs import CERT_EXPIRY, CERT_VALIDITY_OFFSET, Cert, CertStore, CertStoreEntry
from OpenSSL.crypto import X509, PKey

KEPT = 2000  # certificates, of some kilobytes each
MOST_NAMES = 200  # of one that is kept: thousands take memory, and are quickly signed again
MADE_ANEW_S = 30 * 86_400.0  # well before one is over
_NOT_YET_S = CERT_VALIDITY_OFFSET.total_seconds()  # before that, by a clock set back, none holds yet
_CONVERTED = 100  # they may have thousands of names
_LONGEST_NAME = 64  # of a common name (X.520, ub-common-name)
_RSA_BITS = 2048

# pyOpenSSL makes OpenSSL's form of a certificate and of a key anew for every connection that uses them: a
# twentieth of the processor time of a new connection.
X509.from_cryptography = lru_cache(_CONVERTED)(X509.from_cryptography)  # type: ignore[method-assign]
PKey.from_cryptography_key = lru_cache(_CONVERTED)(PKey.from_cryptography_key)  # type: ignore[method-assign]

type Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key(kind: str) -> Key:
    """Make a private key: on P-256 (`ecdsa`), or of 2048 bits for clients that know nothing else (`rsa`)."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


class SiteCertificates(CertStore):
    """mitmproxy's store, with one key for the certificates that it makes; the operator's files come first.

    `authority` is the file of the authority and of those above it. Clients are sent them too: a browser that
    is started to accept the authority's key (`setup browser`) looks for it there.
    """

    def __init__(
        self, store: CertStore, key: Key, authority: Path, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(
            store.default_privatekey,
            store.default_ca,
            store.default_chain_file,
            store.default_crl,
            store.dhparams,
        )
        self.certs = store.certs  # those from files
        self._key = key
        self._authority = authority
        self._now = now  # by the clock, as clients see it: one that was set right ends what was made before
        self._made: LRU[tuple[x509.GeneralNames, str | None, str | None], tuple[float, CertStoreEntry]] = LRU(
            KEPT
        )

    def get_cert(
        self,
        commonname: str | None,
        sans: Iterable[x509.GeneralName],
        organization: str | None = None,
        crl_url: str | None = None,
    ) -> CertStoreEntry:
        """Return the certificate for these names, made now where there is none yet."""
        names = x509.GeneralNames(sans)
        if self.certs and (given := self._from_file(commonname, names)) is not None:
            return given
        now = self._now()
        key = (names, organization, crl_url)
        kept = self._made.get(key)
        if kept is not None and _NOT_YET_S < now - kept[0] < MADE_ANEW_S:
            return kept[1]
        made = CertStoreEntry(
            cert=Cert(self._sign(commonname, names, organization, crl_url, now)),
            privatekey=self._key,
            chain_file=self._authority,
            chain_certs=self.default_chain_certs,
        )
        if len(names) <= MOST_NAMES:
            self._made[key] = (now, made)
        return made

    def _from_file(self, commonname: str | None, names: x509.GeneralNames) -> CertStoreEntry | None:
        wanted = [*(self.asterisk_forms(commonname) if commonname else ())]
        for name in names:
            wanted += self.asterisk_forms(name)
        found = next((name for name in (*wanted, "*") if name in self.certs), None)
        return self.certs[found] if found is not None else None

    def _sign(
        self,
        commonname: str | None,
        names: x509.GeneralNames,
        organization: str | None,
        crl_url: str | None,
        now: float,
    ) -> x509.Certificate:
        """Sign a certificate for a site (RFC 5280, 4.2.1; the extensions are those of mitmproxy's)."""
        subject = []
        named = commonname is not None and len(commonname) < _LONGEST_NAME
        if named and commonname is not None:
            subject.append(x509.NameAttribute(NameOID.COMMON_NAME, commonname))
        if organization is not None:
            subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        authority = self.default_ca.to_cryptography()
        since = dt.datetime.fromtimestamp(now, dt.UTC) + CERT_VALIDITY_OFFSET
        builder = (
            x509.CertificateBuilder(
                issuer_name=authority.subject,
                subject_name=x509.Name(subject),
                public_key=self._key.public_key(),
                serial_number=x509.random_serial_number(),
            )
            .not_valid_before(since)
            .not_valid_after(since + CERT_EXPIRY)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=not named)
            .add_extension(_issued_by(authority), critical=False)
        )
        if crl_url:
            place = x509.DistributionPoint(
                [x509.UniformResourceIdentifier(crl_url)], relative_name=None, crl_issuer=None, reasons=None
            )
            builder = builder.add_extension(x509.CRLDistributionPoints([place]), critical=False)
        return builder.sign(self.default_privatekey, hashes.SHA256())


def _issued_by(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Name the authority's key as it names it itself: strict readers compare the two (RFC 5280, 4.2.1.1)."""
    try:
        named = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(named)
