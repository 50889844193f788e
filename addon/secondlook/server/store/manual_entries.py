"""The operator's own entries and exceptions: they beat every feed and are never guarded away.

An entry is one expression (`evil.test/`, `evil.test/a.exe`) or one file digest in one list. An exception
takes entries of feeds out: `host` those of a host and its subdomains, `prefix` those under a path, `exact`
and `file` one. It cannot cut a piece out of a wider entry: `still_listed_by` in `administration` finds out
when one is left.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from secondlook.core.digest import file_hash, is_meant_as_digest, sha256
from secondlook.core.lists.name import ListName, Role
from secondlook.core.subject import SubjectKind
from secondlook.core.url.address import network_in
from secondlook.core.url.canonical import url_subject
from secondlook.core.url.expression import Suffixes, listing_expression
from secondlook.feeds.entries.maker import EMPTY_DIGESTS
from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.server.store.names import list_of
from secondlook.server.store.store import ServerStore, dump_json

type ManualScope = Literal["host", "prefix", "exact", "file"]
BY_AGENT = "agent "  # how `who` begins where nobody here typed the entry
_DIGEST_KINDS = {64: "sha256", 40: "sha1", 32: "md5"}
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualEntry:
    """One entry (`action` list) or exception, with who made it and when (Unix seconds)."""

    id: str
    action: Literal["list", "except"]
    scope: ManualScope
    text: str  # expression, or digest in hex behind its kind (`md5:…`) unless it is SHA-256
    list: str | None
    who: str
    at: float
    reason: str | None = None
    expires_at: float | None = None

    @property
    def by_agent(self) -> bool:
        """Return whether this was made of an agent's finding."""
        return self.action == "list" and self.who.startswith(BY_AGENT)

    def is_in_force(self, now: float) -> bool:
        """Return whether this is not over."""
        return self.expires_at is None or self.expires_at > now

    @property
    def kind(self) -> SubjectKind:
        """Return whether this is about a URL or a file."""
        return SubjectKind.FILE if self.scope == "file" else SubjectKind.URL


def parse_subject(subject: str, suffixes: Suffixes) -> tuple[ManualScope, str]:
    """Read what an operator typed: host, URL, URL prefix (ends in `/`) or digest; ValueError if none.

    A host below which unrelated people have their sites (`github.io`) is meant alone.
    """
    text = subject.strip()
    digest = text.lower().removeprefix("sha256:").removeprefix("sha1:").removeprefix("md5:")
    kind = _DIGEST_KINDS.get(len(digest))
    if kind and _HEX.fullmatch(digest):
        return "file", digest if kind == "sha256" else f"{kind}:{digest}"
    if text.startswith("=") or (text.startswith("/") and text.endswith("/")):
        raise ValueError(f"a list cannot hold {subject!r}: expected a host, a URL or a digest")
    if is_meant_as_digest(digest):
        raise ValueError(
            f"a list cannot hold {subject!r}: no digest of a file has {len(digest)} hexadecimal digits"
        )
    if network_in(text) is not None:
        raise ValueError(f"a list cannot hold a network: {subject!r}; add each address")
    parsed = url_subject(text, suffixes)
    if parsed.problem or not parsed.host:
        raise ValueError(f"not a host, URL or digest: {subject!r}: {parsed.problem or 'no host'}")
    if "%" in parsed.host:
        raise ValueError(f"not a host, URL or digest: {subject!r}")
    if "*" in parsed.host:
        raise ValueError(
            f"a list cannot hold {subject!r}: a host stands for its subdomains too, without a star"
        )
    expression = listing_expression(parsed.expressions[0])
    path = expression[len(parsed.host) :]
    if path == "/":
        if suffixes.is_registry(parsed.host):
            raise ValueError(
                f"{parsed.host} is the suffix of a registry: unrelated sites have names below it"
            )
        return ("exact" if suffixes.is_suffix(parsed.host) else "host"), expression
    return ("prefix" if path.endswith("/") else "exact"), expression


def read_manual(store: ServerStore) -> list[ManualEntry]:
    """Read every own entry, oldest first. Raises PatternError for a damaged file."""
    path = store.root / "own.json"
    try:
        return [ManualEntry(**raw) for raw in read_json(path.read_bytes())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise PatternError(
            f"cannot read {path}: {error}; put it back from a backup, or remove it and add your entries again"
        ) from error


def write_manual(store: ServerStore, entries: Sequence[ManualEntry]) -> None:
    """Write every own entry; the caller holds the writer's lock."""
    write_whole(store.root / "own.json", dump_json([asdict(entry) for entry in entries]))


def next_id(entries: Sequence[ManualEntry]) -> str:
    """Return an identity that no entry has."""
    return f"own-{max((int(entry.id.removeprefix('own-')) for entry in entries), default=0) + 1}"


def target_list(target: ListName, scope: ManualScope, text: str) -> ListName:
    """Return the list that an own entry goes to.

    Raises ValueError for the empty file, and for a weak digest in a known-good list.
    """
    if scope == "file" and text.rpartition(":")[2] in EMPTY_DIGESTS:
        raise ValueError(f"{text} is the digest of the empty file, which is listed nowhere")
    chosen = list_of(target, SubjectKind.FILE if scope == "file" else SubjectKind.URL)
    if chosen.role is Role.KNOWN_GOOD and ":" in text and scope == "file":
        raise ValueError("MD5 and SHA-1 cannot prove that a file is good: give its SHA-256")
    return chosen


def manual_hash(scope: ManualScope, text: str) -> bytes:
    """Return the full hash of an own entry's text."""
    if scope == "file":
        kind, _, digest = text.rpartition(":")
        return file_hash("md5" if kind == "md5" else "sha1" if kind == "sha1" else "sha256", digest)
    return sha256(text.encode())
