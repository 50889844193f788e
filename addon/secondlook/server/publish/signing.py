"""The publisher's Ed25519 key: made once, kept beside the entries, readable by its owner alone."""

import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from secondlook.ground import keyfile
from secondlook.ground.errors import ConfigError
from secondlook.wire.signature import public_text

logger = logging.getLogger(__name__)

KEY_FILE = "publisher.key"  # in the server's folder
_REMEDY = (
    "put back a good copy, or take the file away to get a new key (clients that pin the old one need it)"
)


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a key in PEM; ConfigError when it is none."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"cannot read the publisher's key {path}: {error.strerror}; {_REMEDY}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the publisher's key {path} is no whole key in PEM; {_REMEDY}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the publisher's key {path} is no Ed25519 key; {_REMEDY}")
    return key


def check_publisher_key(root: Path, configured: Path | None = None) -> None:
    """Raise ConfigError where there is a key that cannot be used: at the start, not with the next lists."""
    path = configured or root / KEY_FILE
    if configured is not None or path.exists():
        read_private_key(path)


def known_public_key(root: Path, configured: Path | None = None) -> str | None:
    """Return the public key (hex) of what will be published; None where it is made with the first lists."""
    path = configured or root / KEY_FILE
    return public_text(read_private_key(path).public_key()) if path.exists() else None


def renew_damaged_key(root: Path) -> None:
    """Set a damaged key of a server that nobody pins aside, so that the next lists get a new one."""
    try:
        check_publisher_key(root)
    except ConfigError as error:
        path = root / KEY_FILE
        path.replace(path.with_name(f"{KEY_FILE}.damaged"))
        fault, _, _ = str(error).partition("; ")
        logger.warning("%s; it is set aside, and a new one is made", fault)


def publisher_key(root: Path, configured: Path | None = None) -> Ed25519PrivateKey:
    """Return the configured key, else the one in the server's folder, which is made when it is not there."""
    if configured is not None:
        return read_private_key(configured)
    path = root / KEY_FILE
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        keyfile.write_once(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return read_private_key(path)
