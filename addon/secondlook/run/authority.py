"""Making the certificate authority, once, before any worker starts, and mending what it gives away."""

import os
import sys
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE

from secondlook.run.diagnosis.authority_check import DamagedAuthorityError, read_certificate
from secondlook.run.supervisor.authority_files import AUTHORITY, CERTIFICATES, PARAMETERS, whole, whole_pem


def make_authority(folder: Path) -> None:
    """Make the authority's files as mitmproxy names them, readable by their owner alone.

    A certificate's copy that is missing or damaged is written anew. Raises OSError, DamagedAuthorityError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = folder / AUTHORITY
    before = os.umask(0o077)
    try:
        if not own.exists():
            _make(folder)
            return
        certificate = read_certificate(own).public_bytes(Encoding.PEM)
        for name in CERTIFICATES:
            if not whole(folder, name):
                beside = folder / f"{name}.new"
                beside.write_bytes(certificate)
                beside.replace(folder / name)
        if not whole_pem(folder / PARAMETERS):  # public numbers, which mitmproxy writes again
            (folder / PARAMETERS).unlink(missing_ok=True)
    finally:
        os.umask(before)


def _make(folder: Path) -> None:
    """Make everything beside, then put it in place: its own file last, which says that all is there."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as made:
        CertStore.create_store(Path(made), CONF_BASENAME, KEY_SIZE)
        for path in sorted(Path(made).iterdir(), key=lambda path: path.name == AUTHORITY):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.replace(folder / path.name)


if __name__ == "__main__":
    try:
        make_authority(Path(sys.argv[1]))
    except (OSError, DamagedAuthorityError) as error:
        sys.stderr.write(f"secondlook: {error}\n")
        sys.exit(1)
