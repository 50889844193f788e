"""Digests: every full hash of this program is 32 bytes, whatever it was computed from."""

import hashlib
import re
from collections.abc import Collection
from typing import Final, Literal

from secondlook.core.subject import FileSubject

FULL_HASH_BYTES: Final = 32
PREFIX_BYTES: Final = 4

type DigestKind = Literal["sha256", "sha1", "md5"]

HEX_LENGTH: Final[dict[DigestKind, int]] = {"sha256": 64, "sha1": 40, "md5": 32}
_HEX: Final = re.compile(r"[0-9a-fA-F]+")

EMPTY_FILE: Final[dict[DigestKind, str]] = {
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "md5": "d41d8cd98f00b204e9800998ecf8427e",
}


def sha256(data: bytes) -> bytes:
    """SHA-256 of some bytes, as 32 bytes."""
    return hashlib.sha256(data).digest()


def digest_kind(text: str) -> DigestKind | None:
    """Which digest a hexadecimal text of that length is, or None."""
    if _HEX.fullmatch(text) is None:
        return None
    return next((kind for kind, length in HEX_LENGTH.items() if len(text) == length), None)


def is_meant_as_digest(text: str) -> bool:
    """Return whether who writes this means a digest, be it of a wrong length: no host is called so."""
    return len(text) >= min(HEX_LENGTH.values()) and _HEX.fullmatch(text) is not None


def known_kinds(named: Collection[str]) -> tuple[DigestKind, ...]:
    """Return those that we know of the digests that a server names: each is computed for every body."""
    return tuple(kind for kind in HEX_LENGTH if kind in named)


def file_hash(kind: DigestKind, digest: str) -> bytes:
    """The full hash (32 bytes) that stands for a file's digest given in hexadecimal.

    A SHA-256 stands for itself; MD5 and SHA-1 enter as SHA-256 of the ASCII text `md5:<hex>` or
    `sha1:<hex>` in lower case. Raise ValueError when `digest` is not hexadecimal of the right length.
    """
    if len(digest) != HEX_LENGTH[kind] or _HEX.fullmatch(digest) is None:
        raise ValueError(f"not a {kind} digest in hexadecimal: {digest[:80]!r}")
    if kind == "sha256":
        return bytes.fromhex(digest)
    return sha256(f"{kind}:{digest.lower()}".encode("ascii"))


def file_subject(
    content_sha256: bytes,
    *,
    md5: str | None = None,
    sha1: str | None = None,
    further: tuple[tuple[str, bytes], ...] = (),
    size: int | None = None,
    filename: str | None = None,
) -> FileSubject:
    """A file by its digests: `content_sha256` is 32 bytes, `md5` and `sha1` are hexadecimal.

    `further` holds (label, full hash) of the decoded form or of archive members.
    """
    hashes, labels = [content_sha256], ["sha256"]
    if sha1 is not None:
        hashes.append(file_hash("sha1", sha1))
        labels.append("sha1")
    if md5 is not None:
        hashes.append(file_hash("md5", md5))
        labels.append("md5")
    for label, full_hash in further:
        hashes.append(full_hash)
        labels.append(label)
    return FileSubject(
        hashes=tuple(hashes), labels=tuple(labels), size=size, filename=filename, md5=md5, sha1=sha1
    )
