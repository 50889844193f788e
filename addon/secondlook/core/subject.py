"""The thing asked about: a URL or a file, both carried by 32-byte full hashes.

A URL subject can only be made by `core.url.canonical.url_subject`; its first expression is the exact
canonical one and gives the subject its identity. A file subject's identity is its SHA-256.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from secondlook.core.verdict import SubjectClass
from secondlook.ground.quickly import quickly_made


class SubjectKind(StrEnum):
    """What kind of thing a subject is."""

    URL = "url"
    FILE = "file"


@quickly_made
@dataclass(frozen=True, slots=True)
class UrlSubject:
    """A URL in canonical form.

    `hashes[i]` is the SHA-256 of `expressions[i]` (`host/path` text); index 0 is the exact one.
    `problem` is why the URL is malformed (too long, too many escapes …); the host expressions
    and the cut path are still there to be checked.
    """

    canonical: str
    host: str
    expressions: tuple[str, ...]
    hashes: tuple[bytes, ...]
    problem: str | None = None
    kind: Literal[SubjectKind.URL] = SubjectKind.URL

    @property
    def identity(self) -> bytes:
        """32 bytes that name this subject in queue, cache and ledger."""
        return self.hashes[0]


@quickly_made
@dataclass(frozen=True, slots=True)
class FileSubject:
    """A file by its digests.

    `hashes[0]` is the SHA-256 of the bytes; further ones are SHA-256 of `md5:<hex>` and `sha1:<hex>`,
    and digests of the decoded form or of archive members, each labelled in `labels`. `md5` and `sha1` are
    hexadecimal, as people know them, where they were computed.
    """

    hashes: tuple[bytes, ...]
    labels: tuple[str, ...] = ("sha256",)
    size: int | None = None
    filename: str | None = None
    md5: str | None = None
    sha1: str | None = None
    kind: Literal[SubjectKind.FILE] = SubjectKind.FILE

    @property
    def identity(self) -> bytes:
        """The SHA-256 of the file's bytes."""
        return self.hashes[0]


type Subject = UrlSubject | FileSubject


@quickly_made
@dataclass(frozen=True, slots=True)
class RequestContext:
    """The circumstances of one check: who asks, how, and for what class of use."""

    cls: SubjectClass
    client: str | None = None  # IP address in its shortest form
    user: str | None = None
    method: str | None = None
    url: str | None = None  # as asked for; for a file, where it came from
    referrer: str | None = None
    content_type: str | None = None
    tunnel: str | None = None  # what runs through it, where its requests are not seen
    gateway: str | None = None  # name of the one that asks, where the traffic is not ours
