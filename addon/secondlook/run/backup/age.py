"""Encryption with a passphrase in the age format (c2sp.org/age), so that `age --decrypt` opens it without us.

```
header   age-encryption.org/v1 · one stanza `scrypt SALT LOG2N` with the wrapped file key · HMAC-SHA-256
payload  16 bytes nonce · pieces of 64 KiB, each sealed with ChaCha20-Poly1305, the last one marked
```

The primitives are those of `cryptography`. Both ways run in memory for one piece, however long the content.
"""

import io
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from secondlook.ground.errors import SecondLookError

MAGIC: Final = b"age-encryption.org/v1\n"
LOG2N: Final = 18  # scrypt's work: half a second and 256 MiB; what age itself uses
MOST_LOG2N: Final = 20  # of a file that is opened: 1 GiB
PIECE_BYTES: Final = 64 << 10
_TAG_BYTES: Final = 16
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 16
_NONCE_BYTES: Final = 16
_WRAPPING_NONCE: Final = bytes(12)
_LABEL: Final = b"age-encryption.org/v1/scrypt"
_HEADER_LINES: Final = 4
_LONGEST_LINE: Final = 80
_HEADER = re.compile(
    re.escape(MAGIC)
    + rb"-> scrypt (?P<salt>[A-Za-z0-9+/]{22}) (?P<log2n>[1-9][0-9]?)\n"
    + rb"(?P<wrapped>[A-Za-z0-9+/]{43})\n--- (?P<mac>[A-Za-z0-9+/]{43})\n"
)


class SealError(SecondLookError):
    """What is sealed cannot be opened; the message is why."""


class Sealer:
    """A file to write to; its content goes sealed into another, which `close` leaves open."""

    def __init__(self, sink: BinaryIO, passphrase: str, *, log2n: int = LOG2N) -> None:
        key, salt = os.urandom(_KEY_BYTES), os.urandom(_SALT_BYTES)
        wrapped = ChaCha20Poly1305(_wrap_key(passphrase, salt, log2n)).encrypt(_WRAPPING_NONCE, key, None)
        head = MAGIC + b"-> scrypt " + _b64(salt) + b" %d\n" % log2n + _b64(wrapped) + b"\n---"
        nonce = os.urandom(_NONCE_BYTES)
        sink.write(head + b" " + _b64(_mac(key, head).finalize()) + b"\n" + nonce)
        self._sink = sink
        self._pieces = _Pieces(key, nonce)
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        """Seal whole pieces; the last is held back, for only the end knows that it is the last."""
        self._held += data
        while len(self._held) > PIECE_BYTES:
            self._sink.write(self._pieces.seal(bytes(self._held[:PIECE_BYTES]), last=False))
            del self._held[:PIECE_BYTES]
        return len(data)

    def flush(self) -> None:
        """Do nothing: a piece goes out when it is whole."""

    def close(self) -> None:
        """Write the last piece."""
        self._sink.write(self._pieces.seal(bytes(self._held), last=True))


class Opened(io.RawIOBase):
    """A file to read from: the content of a sealed one. Raises SealError where that was cut or altered."""

    def __init__(self, source: BinaryIO, ask: Callable[[], str]) -> None:
        """Read the header; `ask` gives the passphrase. Raises SealError."""
        super().__init__()
        head = b"".join(source.readline(_LONGEST_LINE) for _ in range(_HEADER_LINES))
        found = _HEADER.fullmatch(head)
        if found is None:
            raise SealError("it is not encrypted with a passphrase, or its beginning was cut or altered")
        log2n = int(found["log2n"])
        if log2n > MOST_LOG2N:
            raise SealError(f"its passphrase would cost more work (2^{log2n}) than is tried (2^{MOST_LOG2N})")
        wrap = _wrap_key(ask(), _unb64(found["salt"]), log2n)
        try:
            key = ChaCha20Poly1305(wrap).decrypt(_WRAPPING_NONCE, _unb64(found["wrapped"]), None)
        except InvalidTag:
            raise SealError("the passphrase is wrong, or the beginning of the file was altered") from None
        try:
            _mac(key, head[: head.rindex(b" ")]).verify(_unb64(found["mac"]))
        except InvalidSignature:
            raise SealError("the beginning of the file was altered") from None
        nonce = source.read(_NONCE_BYTES)
        if len(nonce) < _NONCE_BYTES:
            raise SealError("it was cut after its beginning")
        self._source = source
        self._pieces = _Pieces(key, nonce)
        self._next = source.read(PIECE_BYTES + _TAG_BYTES)
        self._left = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of any buffer, says the base
        """Give some of the content; 0 at its end. Raises SealError."""
        while not self._left and not self._ended:
            self._left = memoryview(self._piece())
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _piece(self) -> bytes:
        piece, self._next = self._next, self._source.read(PIECE_BYTES + _TAG_BYTES)
        self._ended = not self._next
        try:
            content = self._pieces.open(piece, last=self._ended)
        except InvalidTag:
            at = f"after {(self._pieces.count - 1) * PIECE_BYTES:,} bytes of its content"
            raise SealError(f"it was cut or altered {at}") from None
        if not content and self._pieces.count > 1:
            raise SealError("its end was altered")
        return content


class _Pieces:
    """Sealing or opening pieces in their order (STREAM)."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self.count = 0
        self._cipher = ChaCha20Poly1305(_derived(key, nonce, b"payload"))

    def seal(self, content: bytes, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(last=last), content, None)

    def open(self, piece: bytes, *, last: bool) -> bytes:
        return self._cipher.decrypt(self._nonce(last=last), piece, None)

    def _nonce(self, *, last: bool) -> bytes:
        self.count += 1
        return (self.count - 1).to_bytes(11) + bytes([last])


def _wrap_key(passphrase: str, salt: bytes, log2n: int) -> bytes:
    return Scrypt(_LABEL + salt, 32, 1 << log2n, 8, 1).derive(passphrase.encode())


def _mac(key: bytes, head: bytes) -> HMAC:
    mac = HMAC(_derived(key, b"", b"header"), SHA256())
    mac.update(head)
    return mac


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def _b64(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    """Read what `_b64` writes, and nothing that only decodes to the same. Raises SealError."""
    data = b64decode(text + b"=" * (-len(text) % 4))
    if _b64(data) != text:
        raise SealError("the beginning of the file was altered")
    return data
