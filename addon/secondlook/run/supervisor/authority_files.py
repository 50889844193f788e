"""The files of the certificate authority, and whether they are whole; standard library only."""

from pathlib import Path

AUTHORITY = "mitmproxy-ca.pem"  # the key and the certificate
CERTIFICATES = ("mitmproxy-ca-cert.pem", "mitmproxy-ca-cert.cer")  # to be given away
PARAMETERS = "mitmproxy-dhparam.pem"  # of the key exchange with old clients
_BEGINNING, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


def whole(folder: Path, name: str = CERTIFICATES[0]) -> bool:
    """Return whether a copy of the certificate holds what the authority's own file holds."""
    try:
        copied = (folder / name).read_bytes().strip()
        ended = copied.startswith(_BEGINNING) and copied.endswith(_END)
        return ended and copied in (folder / AUTHORITY).read_bytes()
    except OSError:
        return False


def whole_pem(path: Path) -> bool:
    """Return whether a file in PEM goes to its end."""
    try:
        return path.read_bytes().rstrip().endswith(b"-----")
    except OSError:
        return False
