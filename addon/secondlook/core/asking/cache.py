"""The cache of servers' answers (stage 6), bounded, with expiry, saved across restarts.

What it holds about a prefix has three values: an answer that still holds (`get`), an expired one that may
serve while nobody answers (`stale`), or nothing. An answer that lists nothing is kept like any other.

A saved cache is one block of bytes, little-endian:

```
8 bytes   magic "SLANSWER"
4 bytes   format version (1)
32 bytes  SHA-256 of the rest
4 + n     names: JSON array of the strings that records refer to by number
4         count of records
records   key (5 bytes), stored_at, expires_at (f64), server, source (u32), count of listed hashes (u32),
          then for each: full hash (32), threat, risk, list, family (u32; 0xffffffff: none),
          first_seen (f64; NaN: none), frames only (u8), count of feeds (u32), feeds (u32 each)
```
"""

import json
import struct
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import batched
from math import isfinite, isnan, nan
from typing import Final

from lru import LRU

from secondlook.core.answer import (
    GOOGLE,
    GOOGLE_FRESH_S,
    MAX_EXPIRY_S,
    MIN_EXPIRY_S,
    ListedHash,
    PrefixAnswer,
    Tier,
)
from secondlook.core.digest import FULL_HASH_BYTES, PREFIX_BYTES
from secondlook.core.lists.pattern import Pattern
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, Threat
from secondlook.ground.errors import SecondLookError
from secondlook.ground.json_text import read_json

SLICE: Final = 300  # answers looked at in about 2 ms
MAGIC: Final = b"SLANSWER"
VERSION: Final = 1

_HEAD: Final = struct.Struct("<8sI32s")
_U32: Final = struct.Struct("<I")
_RECORD: Final = struct.Struct(f"<{PREFIX_BYTES + 1}sddIII")
_LISTED: Final = struct.Struct(f"<{FULL_HASH_BYTES}sIIIIdBI")
_NONE: Final = 0xFFFFFFFF

_PLACES: Final = tuple((tier, kind) for tier in Tier for kind in SubjectKind)
_TAGS: Final = {place: bytes([number]) for number, place in enumerate(_PLACES)}
# By value, because hashing an enum member runs Python code and hashing a string does not.
_TAG_OF: Final[dict[str, dict[str, bytes]]] = {
    tier.value: {kind.value: _TAGS[tier, kind] for kind in SubjectKind} for tier in Tier
}


class SavedCacheError(SecondLookError):
    """The bytes of a saved cache cannot be used; the cache starts empty."""


class AnswerCache:
    """Answers by (tier, kind of subject, 4-byte prefix), at most `size` of them, the least used dropped.

    Instants are Unix seconds. A server's expiry, to which it adds its own jitter, is clamped to `expiry_s`.
    """

    def __init__(self, size: int, *, expiry_s: tuple[float, float] = (MIN_EXPIRY_S, MAX_EXPIRY_S)) -> None:
        self._expiry_s = expiry_s
        self._answers: LRU[bytes, PrefixAnswer] = LRU(size)

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, tier: Tier, kind: SubjectKind, prefix: bytes, now: float) -> PrefixAnswer | None:
        """The answer that holds now, or None."""
        answer = self._answers.get(_TAG_OF[tier._value_][kind._value_] + prefix)
        # An answer from the future was stored before the clock was set back: its age is unknown.
        if answer is not None and answer.stored_at <= now < answer.expires_at:
            return answer
        return None

    def stale(
        self, tier: Tier, kind: SubjectKind, prefix: bytes, now: float, stale_for_s: float
    ) -> PrefixAnswer | None:
        """The answer that may serve while nobody answers: expired less than `stale_for_s` ago, or fresh."""
        answer = self._answers.get(_TAG_OF[tier._value_][kind._value_] + prefix)
        if answer is not None and answer.stored_at <= now < answer.expires_at + stale_for_s:
            return answer
        return None

    def put(self, tier: Tier, kind: SubjectKind, prefix: bytes, answer: PrefixAnswer) -> PrefixAnswer:
        """Keep an answer. Return it with the expiry that it got."""
        shortest, longest = self._expiry_s
        if answer.listed and answer.source == GOOGLE:
            longest = min(longest, GOOGLE_FRESH_S)
        span_s = min(longest, max(shortest, answer.expires_at - answer.stored_at))
        expires_at = answer.stored_at + span_s
        if expires_at != answer.expires_at:
            answer = PrefixAnswer(answer.listed, answer.stored_at, expires_at, answer.server, answer.source)
        self._answers[_TAGS[tier, kind] + prefix] = answer
        return answer

    def drop_contradicted(self, pattern: Pattern, now: float, since: Pattern | None = None) -> Iterator[int]:
        """Forget what a newer pattern contradicts. Return the number dropped of each few hundred.

        Between these the caller may let others run. Forgotten is an answer that lists nothing, where a
        list of that tier has an entry under the prefix, and an answer that lists a hash, where the pattern
        stands in for that tier and holds it no more. Lists that `since` had already are not searched.
        """
        tables = pattern.changed_tables(since)
        for batch in batched(self._answers.items(), SLICE):
            dropped = 0
            for key, answer in batch:
                tier, kind = place = _PLACES[key[0]]
                if answer.listed:
                    wrong = pattern.covers(tier, kind, now) and not all(
                        pattern.lists_hash(tier, kind, listed.full_hash) for listed in answer.listed
                    )
                else:
                    wrong = any(table.has_prefix(key[1:]) for table in tables.get(place, ()))
                if wrong and self._answers.get(key) is answer:
                    del self._answers[key]
                    dropped += 1
            yield dropped

    def dump(self) -> bytes:
        """Everything kept, as bytes for `load`."""
        return dump_answers(self._answers.items())

    def load(self, data: bytes, *, now: float, stale_for_s: float = 0.0) -> int:
        """Add the answers of a saved cache that may still serve. Return how many. Raise SavedCacheError."""
        loaded = [
            (key, answer)
            for key, answer in read_answers(data)
            if answer.stored_at <= now < answer.expires_at + stale_for_s
        ]
        for key, answer in reversed(loaded):  # the most recently used last, so that it stays the longest
            if key not in self._answers:
                self._answers[key] = answer
        return len(loaded)


def dump_answers(items: list[tuple[bytes, PrefixAnswer]]) -> bytes:
    """The bytes of a saved cache; keys are 5 bytes: number of tier and kind, then the prefix."""
    numbers: dict[str, int] = {}

    def number(name: str | None) -> int:
        return _NONE if name is None else numbers.setdefault(name, len(numbers))

    records: list[bytes] = [_U32.pack(len(items))]
    for key, answer in items:
        records.append(
            _RECORD.pack(
                key,
                answer.stored_at,
                answer.expires_at,
                number(answer.server),
                number(answer.source),
                len(answer.listed),
            )
        )
        for listed in answer.listed:
            records.append(
                _LISTED.pack(
                    listed.full_hash,
                    number(listed.threat.value),
                    number(listed.risk.value),
                    number(listed.list),
                    number(listed.family),
                    nan if listed.first_seen is None else listed.first_seen,
                    listed.frames_only,
                    len(listed.feeds),
                )
            )
            records.extend(_U32.pack(number(feed)) for feed in listed.feeds)
    names = json.dumps(list(numbers)).encode()
    body = b"".join((_U32.pack(len(names)), names, *records))
    return _HEAD.pack(MAGIC, VERSION, sha256(body).digest()) + body


def read_answers(data: bytes) -> list[tuple[bytes, PrefixAnswer]]:
    """The records of a saved cache. Raise SavedCacheError for anything but what `dump_answers` wrote."""
    if len(data) < _HEAD.size or data[: len(MAGIC)] != MAGIC:
        raise SavedCacheError("not a saved cache")
    _, version, checksum = _HEAD.unpack_from(data)
    if version != VERSION:
        raise SavedCacheError(f"saved cache has format version {version}, this program reads {VERSION}")
    if sha256(memoryview(data)[_HEAD.size :]).digest() != checksum:
        raise SavedCacheError("saved cache does not match its checksum")
    try:
        return _read_body(data)
    except (struct.error, ValueError, IndexError, TypeError) as error:
        raise SavedCacheError(f"saved cache contradicts itself: {error}") from None


def _read_body(data: bytes) -> list[tuple[bytes, PrefixAnswer]]:
    at = _HEAD.size
    (size,) = _U32.unpack_from(data, at)
    names = read_json(data[at + 4 : at + 4 + size])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("names are not strings")
    at += 4 + size
    (count,) = _U32.unpack_from(data, at)
    at += 4
    found: list[tuple[bytes, PrefixAnswer]] = []
    empty: dict[bytes, PrefixAnswer] = {}  # one query brings many answers of nothing but when and who
    for _ in range(count):
        facts = data[at + PREFIX_BYTES + 1 : at + _RECORD.size]
        if facts in empty and data[at] < len(_PLACES):
            found.append((data[at : at + PREFIX_BYTES + 1], empty[facts]))
            at += _RECORD.size
            continue
        key, stored_at, expires_at, server, source, listed_count = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if key[0] >= len(_PLACES) or not (isfinite(stored_at) and isfinite(expires_at)):
            raise ValueError("impossible record")
        listed: list[ListedHash] = []
        for _ in range(listed_count):
            entry, at = _read_listed(data, at, names.__getitem__)
            listed.append(entry)
        answer = PrefixAnswer(tuple(listed), stored_at, expires_at, names[server], names[source])
        found.append((key, answer))
        if not listed:
            empty[facts] = answer
    if at != len(data):
        raise ValueError("bytes left over")
    return found


def _read_listed(data: bytes, at: int, name: Callable[[int], str]) -> tuple[ListedHash, int]:
    full_hash, threat, risk, list_, family, first_seen, frames_only, feeds = _LISTED.unpack_from(data, at)
    at += _LISTED.size
    numbers = struct.unpack_from(f"<{feeds}I", data, at)
    entry = ListedHash(
        full_hash=full_hash,
        threat=Threat(name(threat)),
        risk=Risk(name(risk)),
        list=None if list_ == _NONE else name(list_),
        feeds=tuple(map(name, numbers)),
        family=None if family == _NONE else name(family),
        first_seen=None if isnan(first_seen) else first_seen,
        frames_only=bool(frames_only),
    )
    return entry, at + 4 * feeds
