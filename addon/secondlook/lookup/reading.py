"""Answers of `hashes:search` (Safe Browsing v5, section 2) read into the project's own words.

What the protocol and its other clients taught: an answer without `cache_duration` is an error; a
hash that is not 32 bytes or whose prefix nobody asked for is dropped (servers do send such); a
detail that holds any unknown enum value is ignored whole; a prefix that the answer does not
mention is an answer too: nothing is listed under it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import DecodeError

from secondlook.core.answer import GOOGLE_FRESH_S, MAX_EXPIRY_S, MIN_EXPIRY_S, ListedHash, PrefixAnswer
from secondlook.core.digest import FULL_HASH_BYTES, PREFIX_BYTES
from secondlook.core.verdict import SEVERITY, Risk, Threat
from secondlook.lookup.failure import bad_answer
from secondlook.wire import safebrowsing_pb2 as pb

MAX_TEXT: Final = 200  # characters kept of a name that a server sends
MAX_FEEDS: Final = 32

CANARY: Final = 1
FRAME_ONLY: Final = 2

THREATS: Final = {
    1: Threat.MALWARE,
    2: Threat.SOCIAL_ENGINEERING,
    3: Threat.UNWANTED_SOFTWARE,
    4: Threat.POTENTIALLY_HARMFUL,
}
# A server that knows no risk bands (0: field absent) lists what is dangerous.
RISKS: Final = {0: Risk.DANGEROUS, 1: Risk.DANGEROUS, 2: Risk.HIGHLY_SUSPICIOUS, 3: Risk.SUSPICIOUS}


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An answer for every asked prefix, and how many hashes of the message were unusable."""

    answers: dict[bytes, PrefixAnswer]
    dropped_unasked: int = 0
    dropped_malformed: int = 0


def read_search(
    body: bytes,
    asked: Collection[bytes],
    *,
    now: float,
    server: str,
    source: str,
    google: bool = False,
    expiry_s: tuple[float, float] = (MIN_EXPIRY_S, MAX_EXPIRY_S),
) -> SearchResult:
    """Read the bytes of a SearchHashesResponse to a query about `asked` (4-byte prefixes).

    `now` is Unix seconds; the server's expiry is clamped to `expiry_s`, for hits of Google also to
    the half hour within which they may block. Raise ServerFailure.
    """
    try:
        message = pb.SearchHashesResponse.FromString(body)
    except DecodeError:
        raise bad_answer("not a protobuf message") from None
    if not message.HasField("cache_duration"):
        raise bad_answer("no cache duration")
    duration_s = message.cache_duration.seconds + message.cache_duration.nanos / 1e9
    if duration_s < 0:
        raise bad_answer("negative cache duration")
    expires_at = now + min(max(duration_s, expiry_s[0]), expiry_s[1])
    nothing = PrefixAnswer((), now, expires_at, server, source)
    answers = dict.fromkeys(asked, nothing)
    if not message.full_hashes:
        return SearchResult(answers)
    hit_expires_at = min(expires_at, now + GOOGLE_FRESH_S) if google else expires_at
    listed: dict[bytes, list[ListedHash]] = {}
    unasked = malformed = 0
    for entry in message.full_hashes:
        if len(entry.full_hash) != FULL_HASH_BYTES:
            malformed += 1
        elif (prefix := entry.full_hash[:PREFIX_BYTES]) not in answers:
            unasked += 1
        else:
            listed.setdefault(prefix, []).extend(read_details(entry.full_hash, entry.full_hash_details))
    for prefix, hashes in listed.items():
        if hashes:
            answers[prefix] = PrefixAnswer(tuple(hashes), now, hit_expires_at, server, source)
    return SearchResult(answers, unasked, malformed)


def read_details(full_hash: bytes, details: Iterable[pb.FullHash.FullHashDetail]) -> list[ListedHash]:
    """One ListedHash for each threat (and once more if only part of it is for frames alone), worst first."""
    found: dict[tuple[Threat, bool], ListedHash] = {}
    for detail in details:
        listed = _read_detail(full_hash, detail)
        if listed is None:
            continue
        key = (listed.threat, listed.frames_only)
        other = found.get(key)
        found[key] = listed if other is None else _merge(other, listed)
    return sorted(found.values(), key=lambda listed: (SEVERITY[listed.risk], listed.frames_only))


def _read_detail(full_hash: bytes, detail: pb.FullHash.FullHashDetail) -> ListedHash | None:
    threat = THREATS.get(detail.threat_type)
    risk = RISKS.get(detail.risk)
    attributes = set(detail.attributes)
    if threat is None or risk is None or not attributes <= {CANARY, FRAME_ONLY}:
        return None
    if CANARY in attributes:  # "do not enforce"
        return None
    return ListedHash(
        full_hash=full_hash,
        threat=threat,
        risk=risk,
        list=detail.list[:MAX_TEXT] or None,
        feeds=tuple(feed[:MAX_TEXT] for feed in detail.feeds[:MAX_FEEDS]),
        family=detail.family[:MAX_TEXT] or None,
        first_seen=float(detail.first_seen) if detail.first_seen else None,
        frames_only=FRAME_ONLY in attributes,
    )


def _merge(one: ListedHash, other: ListedHash) -> ListedHash:
    """Two details of one threat: the worse risk and its list, all feeds, the earliest date."""
    worse, milder = sorted((one, other), key=lambda listed: SEVERITY[listed.risk])
    seen = [at for at in (worse.first_seen, milder.first_seen) if at is not None]
    return replace(
        worse,
        feeds=tuple(dict.fromkeys(worse.feeds + milder.feeds))[:MAX_FEEDS],
        family=worse.family or milder.family,
        first_seen=min(seen, default=None),
    )
