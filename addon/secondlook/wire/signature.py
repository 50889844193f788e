"""Ed25519 signatures of published lists, and the keys in their readable form.

What is signed: `secondlook list`, a zero byte, the name, a zero byte, the length of the version as two
big-endian bytes, the version, and the 32 bytes of the list's checksum. Of a list that was made smaller on
purpose: `secondlook reduction`, a zero byte, the name, a zero byte, generation and count in eight bytes each.
"""

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32


def _message(name: str, version: bytes, checksum: bytes) -> bytes:
    return (
        b"\x00".join((b"secondlook list", name.encode()))
        + b"\x00"
        + len(version).to_bytes(2)
        + version
        + checksum
    )


def sign_list(key: Ed25519PrivateKey, name: str, version: bytes, checksum: bytes) -> bytes:
    """Sign one list; 64 bytes."""
    return key.sign(_message(name, version, checksum))


def list_is_signed(
    key: Ed25519PublicKey, name: str, version: bytes, checksum: bytes, signature: bytes
) -> bool:
    """Return whether the holder of the key signed exactly this list."""
    return is_signed(key, _message(name, version, checksum), signature)


def _reduction(name: str, generation: int, count: int) -> bytes:
    return b"\x00".join((b"secondlook reduction", name.encode(), generation.to_bytes(8) + count.to_bytes(8)))


def sign_reduction(key: Ed25519PrivateKey, name: str, generation: int, count: int) -> bytes:
    """Sign that a list was made smaller on purpose, in which generation and to how many entries; 64 bytes."""
    return key.sign(_reduction(name, generation, count))


def reduction_is_signed(
    key: Ed25519PublicKey, name: str, generation: int, count: int, signature: bytes
) -> bool:
    """Return whether the holder of the key signed exactly this reduction."""
    if generation < 0 or count < 0:
        return False
    return is_signed(key, _reduction(name, generation, count), signature)


def is_signed(key: Ed25519PublicKey, message: bytes, signature: bytes) -> bool:
    """Return whether the holder of the key signed these bytes."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def read_public_key(text: str) -> Ed25519PublicKey:
    """Read a public key from hex or base64 (32 bytes); ValueError when it is none."""
    text = text.strip()
    try:
        raw = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
        return Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error):
        raise ValueError("expected an Ed25519 public key: 64 hex digits or base64 of 32 bytes") from None


def public_text(key: Ed25519PublicKey) -> str:
    """Return a public key as 64 hex digits."""
    return key.public_bytes_raw().hex()
