"""The publisher's Ed25519 key: made once, kept beside the entries, readable by its owner alone."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from secondlook.errors import ConfigError


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a key in PEM; ConfigError when it is none."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot read the publisher's key {path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the publisher's key {path} is no Ed25519 key")
    return key


def publisher_key(root: Path, configured: Path | None = None) -> Ed25519PrivateKey:
    """Give the configured key, else the one in the server's folder, which is made when it is not there."""
    if configured is not None:
        return read_private_key(configured)
    path = root / "publisher.key"
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        beside = path.with_name(f".publisher.key.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        try:
            os.link(beside, path)  # two makers: the first one wins
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    return read_private_key(path)
