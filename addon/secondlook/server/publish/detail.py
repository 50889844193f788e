"""Details of a listed hash as packed protobuf, and the search answer put together from them.

The common answer is packed by hand: a `FullHash` is its 32 bytes and the bytes of its details, which
the table holds ready-made. A test proves it equal to what the protobuf library makes.
"""

from collections.abc import Iterable

from secondlook.core.lists.name import ListName
from secondlook.core.verdict import Risk, Threat
from secondlook.wire import safebrowsing_pb2 as pb

THREAT_NUMBERS = {
    Threat.MALWARE: 1,
    Threat.SOCIAL_ENGINEERING: 2,
    Threat.UNWANTED_SOFTWARE: 3,
    Threat.POTENTIALLY_HARMFUL: 4,
}
RISK_NUMBERS = {Risk.DANGEROUS: 1, Risk.HIGHLY_SUSPICIOUS: 2, Risk.SUSPICIOUS: 3}
_FULL_HASHES = b"\x0a"  # SearchHashesResponse.full_hashes = 1
_FULL_HASH = b"\x0a\x20"  # FullHash.full_hash = 1, 32 bytes
_DETAILS = b"\x12"  # FullHash.full_hash_details = 2
_CACHE_DURATION = b"\x12"  # SearchHashesResponse.cache_duration = 2


def varint(value: int) -> bytes:
    """Encode a protobuf varint."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def pack_detail(
    target: ListName, *, feeds: Iterable[str], family: str | None, first_seen: int | None
) -> bytes:
    """Pack one `full_hash_details` field of an entry of a block list; `first_seen` is Unix seconds."""
    assert target.threat is not None
    detail = pb.FullHash.FullHashDetail(
        threat_type=THREAT_NUMBERS[target.threat],  # type: ignore[arg-type]
        list=target.name,
        risk=RISK_NUMBERS[target.risk],  # type: ignore[arg-type]
        feeds=feeds,
    )
    if family:
        detail.family = family
    if first_seen:
        detail.first_seen = first_seen
    body = detail.SerializeToString()
    return _DETAILS + varint(len(body)) + body


def pack_full_hash(full_hash: bytes, details: bytes) -> bytes:
    """Pack one `full_hashes` field of the answer from a hash and its packed details."""
    return _FULL_HASHES + varint(34 + len(details)) + _FULL_HASH + full_hash + details


def pack_duration(seconds: int) -> bytes:
    """Pack the `cache_duration` field (whole seconds, at least 1)."""
    body = b"\x08" + varint(seconds)
    return _CACHE_DURATION + varint(len(body)) + body
