"""Making the certificate authority, once, before any worker starts."""

import os
import sys
from pathlib import Path

from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE


def make_authority(folder: Path) -> None:
    """Make the authority's files as mitmproxy names them, readable by their owner alone. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        CertStore.from_store(folder, CONF_BASENAME, KEY_SIZE)
    finally:
        os.umask(before)


if __name__ == "__main__":
    make_authority(Path(sys.argv[1]))
