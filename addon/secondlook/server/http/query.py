"""Request fields out of a query string, in the three forms seen on the wire (protocol, "Requests").

Firefox sends named fields in the standard base64 alphabet, Chromium the whole message as `$req`, Google's
generated clients named fields in either alphabet. Unknown parameters are ignored, empty versions skipped.
"""

import binascii
import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from google.protobuf.message import DecodeError

from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadRequest

type Fields = Mapping[bytes, list[bytes]]
_TO_STANDARD = bytes.maketrans(b"-_ ", b"+/+")
MAX_NAMES = 100
MAX_INT32 = 2**31 - 1


def parse_query(raw: bytes) -> dict[bytes, list[bytes]]:
    """Split a query string; values are percent-decoded, and `+` stays what it is (it belongs to base64)."""
    fields: dict[bytes, list[bytes]] = {}
    for part in raw.split(b"&"):
        name, _, value = part.partition(b"=")
        if b"%" in part:
            if b"%" in name:
                name = unquote_to_bytes(name)
            # The escapes of base64 first: nearly always they are all there are, and this is five times as
            # fast.
            value = value.replace(b"%3D", b"=").replace(b"%2B", b"+").replace(b"%2F", b"/")
            if b"%" in value:
                value = unquote_to_bytes(value)
        fields.setdefault(name, []).append(value)
    return fields


def decode_base64(value: bytes) -> bytes:
    """Decode base64 in either alphabet, padded or not; BadRequest when it is none."""
    plain = value.rstrip(b"=").translate(_TO_STANDARD)
    try:
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except binascii.Error:
        raise BadRequest(f"not base64: {value[:40].decode('latin-1')}") from None


def search_prefixes(raw: bytes, limit: int) -> tuple[list[bytes], Fields]:
    """Return the prefixes (4 bytes each, without repeats) of a `hashes:search`, and all its fields."""
    fields = parse_query(raw)
    packed = fields.get(b"$req")
    if packed is not None:
        found = _message(pb.SearchHashesRequest(), packed).hash_prefixes
        prefixes = list(found)
    else:
        prefixes = [decode_base64(value) for value in fields.get(b"hashPrefixes", ())]
    if not prefixes:
        raise BadRequest("hashPrefixes is missing")
    if len(prefixes) > limit:
        raise BadRequest(f"at most {limit} hashPrefixes in one request, not {len(prefixes)}")
    for prefix in prefixes:
        if len(prefix) != 4:  # noqa: PLR2004 - what the protocol asks for
            raise BadRequest("each of hashPrefixes has 4 bytes")
    return list(dict.fromkeys(prefixes)), fields


def get_request(name: str, fields: Fields) -> pb.GetHashListRequest:
    """Return the fields of a `hashList/{name}`; the name stands in the path."""
    packed = fields.get(b"$req")
    if packed is not None:
        request = _message(pb.GetHashListRequest(), packed)
    else:
        versions = [decode_base64(value) for value in fields.get(b"version", ()) if value]
        if len(versions) > 1:
            raise BadRequest("more than one version of one list")
        request = pb.GetHashListRequest(version=versions[0] if versions else b"")
        request.size_constraints.CopyFrom(_constraints(fields))
    request.name = name
    _check_constraints(request.size_constraints)
    return request


def batch_request(fields: Fields) -> pb.BatchGetHashListsRequest:
    """Return the fields of a `hashLists:batchGet`."""
    packed = fields.get(b"$req")
    if packed is not None:
        request = _message(pb.BatchGetHashListsRequest(), packed)
    else:
        request = pb.BatchGetHashListsRequest(
            names=[_text(value) for value in fields.get(b"names", ()) if value],
            version=[decode_base64(value) for value in fields.get(b"version", ()) if value],
        )
        request.size_constraints.CopyFrom(_constraints(fields))
    if not request.names:
        raise BadRequest("names is missing")
    if len(request.names) > MAX_NAMES:
        raise BadRequest(f"at most {MAX_NAMES} names in one request")
    if len(set(request.names)) != len(request.names):
        raise BadRequest("a list is named twice")
    _check_constraints(request.size_constraints)
    return request


def list_request(fields: Fields) -> pb.ListHashListsRequest:
    """Return the fields of a `hashLists`."""
    packed = fields.get(b"$req")
    if packed is not None:
        return _message(pb.ListHashListsRequest(), packed)
    size = _integer(fields, b"pageSize")
    token = fields.get(b"pageToken", [b""])[-1]
    return pb.ListHashListsRequest(page_size=size, page_token=_text(token))


_QUALITY = re.compile(rb";q=([01](?:\.[0-9]*)?)(?:;|\Z)")
_PROTOBUF = frozenset({b"application/x-protobuf", b"application/protobuf"})


def wants_json(fields: Fields, accept: bytes) -> bool:
    """Return whether the client asked for JSON, by `alt=json` or by its Accept header; protobuf otherwise.

    So it is where the header names both, and protobuf as what it likes better (RFC 9110, 12.5.1).
    """
    alt = fields.get(b"alt") or fields.get(b"$alt")
    if alt:
        return alt[-1] == b"json"
    liked = {b"application/json": 0.0}
    for each in accept.replace(b" ", b"").lower().split(b","):
        kind, _, options = each.partition(b";")
        quality = _QUALITY.search(b";" + options)
        liked[kind] = float(quality[1]) if quality else 1.0
    return liked[b"application/json"] > 0 and all(
        liked.get(kind, 0.0) <= liked[b"application/json"] for kind in _PROTOBUF
    )


def wants_private(fields: Fields) -> bool:
    """Return whether the client asked for our private fields in JSON too (`private=1`)."""
    return fields.get(b"private", [b""])[-1] in {b"1", b"true"}


def _message[
    Message: (
        pb.SearchHashesRequest,
        pb.GetHashListRequest,
        pb.BatchGetHashListsRequest,
        pb.ListHashListsRequest,
    )
](empty: Message, packed: list[bytes]) -> Message:
    try:
        empty.ParseFromString(decode_base64(packed[-1]))
    except DecodeError:
        raise BadRequest("$req is not the request message of this method") from None
    return empty


def _constraints(fields: Fields) -> pb.SizeConstraints:
    return pb.SizeConstraints(
        max_update_entries=_integer(fields, b"sizeConstraints.maxUpdateEntries"),
        max_database_entries=_integer(fields, b"sizeConstraints.maxDatabaseEntries"),
    )


def _check_constraints(constraints: pb.SizeConstraints) -> None:
    most = constraints.max_update_entries
    if most < 0 or constraints.max_database_entries < 0:
        raise BadRequest("sizeConstraints are not negative")
    if 0 < most < 1024:  # noqa: PLR2004 - the protocol's bound
        raise BadRequest("sizeConstraints.maxUpdateEntries is 0 or at least 1024")


def _integer(fields: Fields, name: bytes) -> int:
    values = fields.get(name)
    if not values or not values[-1]:
        return 0
    value = values[-1]
    if not value.isdigit() or len(value) > 10 or int(value) > MAX_INT32:  # noqa: PLR2004 - digits of an int32
        raise BadRequest(f"{name.decode()} is no number from 0 to {MAX_INT32}")
    return int(value)


def _text(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise BadRequest(f"not ASCII: {value[:40]!r}") from None
