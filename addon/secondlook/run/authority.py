"""Making the certificate authority, once, before any worker starts, and mending its certificate's copies."""

import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE

from secondlook.errors import SecondLookError
from secondlook.run.authority_files import AUTHORITY, CERTIFICATES, whole


class DamagedAuthorityError(SecondLookError):
    """The authority's own file cannot be used; the message names it and says what to do."""


def make_authority(folder: Path) -> None:
    """Make the authority's files as mitmproxy names them, readable by their owner alone.

    A certificate's copy that is missing or damaged is written anew. Raises OSError, DamagedAuthorityError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = folder / AUTHORITY
    before = os.umask(0o077)
    try:
        if not own.exists():
            CertStore.from_store(folder, CONF_BASENAME, KEY_SIZE)
            return
        raw = own.read_bytes()
        try:
            load_pem_private_key(raw, None)
            certificate = load_pem_x509_certificate(raw).public_bytes(Encoding.PEM)
        except ValueError as error:
            raise DamagedAuthorityError(
                f"{own} is damaged; put back a good copy, or make a new authority with "
                "`secondlook setup ca --renew` (browsers have to trust the new one)"
            ) from error
        for name in CERTIFICATES:
            if not whole(folder, name):
                beside = folder / f"{name}.new"
                beside.write_bytes(certificate)
                beside.replace(folder / name)
    finally:
        os.umask(before)


if __name__ == "__main__":
    try:
        make_authority(Path(sys.argv[1]))
    except (OSError, DamagedAuthorityError) as error:
        sys.stderr.write(f"secondlook: {error}\n")
        sys.exit(1)
