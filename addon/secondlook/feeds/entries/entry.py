"""What a feed yields: entries, and rejects with their place and reason.

Every entry is a full hash of 32 bytes: the SHA-256 of an expression for hosts and URLs, the digest itself for
SHA-256, and the SHA-256 of the text `md5:<hex>` or `sha1:<hex>` for the older digests.
"""

from enum import StrEnum
from typing import NamedTuple

from secondlook.core.verdict import Threat
from secondlook.ground.errors import PatternError


class FeedRefused(PatternError):  # noqa: N818 - it is a decision about the feed, shown to the operator
    """A feed is refused as a whole (empty, HTML, binary, truncated …); the last good one stays."""


class EntryKind(StrEnum):
    """What an entry is about."""

    HOST = "host"  # a host and its subdomains: the expression is `host/`
    URL = "url"  # one expression with a path
    SHA256 = "sha256"
    SHA1 = "sha1"
    MD5 = "md5"


class RejectClass(StrEnum):
    """Why a line (or record) gives no entry; the value is shown to people."""

    NOT_UNDERSTOOD = "not understood"
    TOO_LONG = "line too long"
    BAD_HOST = "impossible host name"
    BAD_URL = "malformed URL"
    BAD_ADDRESS = "malformed IP address"
    PUBLIC_SUFFIX = "public suffix or bare name"
    SHARED_PLATFORM = "platform shared by many sites"
    LOCAL = "local name or address"
    WIDE_RANGE = "address range too wide"
    PATTERN = "wildcard or regular expression"
    MODIFIER = "modifier not understood"
    NOT_A_BLOCK = "rule that blocks no host"
    BAD_DIGEST = "malformed digest"
    EMPTY_FILE = "digest of the empty file"
    WEAK_DIGEST = "digest too weak for known-good files"
    PART_OF_FILE = "digest of a part of a file"
    NOT_FOR_DETECTION = "not meant for detection"
    INACTIVE = "revoked or expired"
    LOW_CONFIDENCE = "confidence too low"
    COMPROMISED = "compromised site, only its URLs are listed"
    OTHER_TYPE = "indicator of a kind that is not checked here"
    EXCEPTED = "held back by an exception"


class Entry(NamedTuple):
    """One accepted entry; a plain tuple, as feeds hold millions.

    `text` is the normal form (host, `host/path` expression, or hex digest). An exception takes away what
    other entries would block, see `feeds.entries.guard.Exceptions`. `first_seen`, `expires` and
    `valid_from` are Unix seconds.
    """

    hash: bytes
    text: str
    kind: EntryKind
    exception: bool = False
    threat: Threat | None = None
    family: str | None = None
    first_seen: float | None = None
    expires: float | None = None
    size: int | None = None  # of the file, where the feed has it
    valid_from: float | None = None  # not to be listed before


class Reject(NamedTuple):
    """One line or record that gave no entry; `line` counts from 1 inside its file (or archive member)."""

    line: int
    cls: RejectClass
    text: str
    member: str = ""
