"""Messages of servers: Rice coding and list updates, which come from whoever answers."""

import json
from hashlib import sha256

from google.protobuf.json_format import MessageToDict, ParseDict, SerializeToJsonError
from google.protobuf.message import DecodeError
from hypothesis import strategies as st

from fuzzkit import fuzz, mutated
from secondlook.wire import rice
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadUpdate
from secondlook.wire.update import apply_update

NAME = "mw-4b"
WIDTHS = sorted(rice.MESSAGES)
LONGEST_S, MOST_NANOS = 315_576_000_000, 999_999_999  # of a google.protobuf.Duration


def entries(width: int, count: int) -> bytes:
    return b"".join(sorted({sha256(b"%d" % number).digest()[:width] for number in range(count)}))


def full_list(width: int, count: int) -> bytes:
    held = entries(width, count)
    message = pb.HashList(name=NAME, version=b"v1", sha256_checksum=sha256(held).digest())
    field = {4: "four", 8: "eight", 16: "sixteen", 32: "thirty_two"}[width]
    getattr(message, f"additions_{field}_bytes").CopyFrom(rice.encode(held, width))
    return message.SerializeToString()


UPDATES = [full_list(width, count) for width in WIDTHS for count in (1, 40)]


@fuzz(width=st.sampled_from(WIDTHS), numbers=st.sets(st.integers(0, 2**256 - 1), min_size=1, max_size=200))
def test_rice_coding(width, numbers):
    """What was encoded is decoded to the same, for any values of any width."""
    held = sorted({number.to_bytes(32)[:width] for number in numbers})
    assert rice.decode(rice.encode(b"".join(held), width)) == b"".join(held)


@fuzz(
    width=st.sampled_from(WIDTHS),
    data=st.binary(max_size=200),
    count=st.integers(-5, 1 << 31 - 1) | st.integers(0, 40),
    parameter=st.integers(-1, 300),
)
def test_rice_coding_of_strangers(width, data, count, parameter):
    """Any message is refused, or gives as many values as it says, none of them smaller than the one before."""
    message = rice.MESSAGES[width](encoded_data=data, entries_count=count, rice_parameter=parameter)
    try:
        values = rice.decode(message)
    except BadUpdate:
        return
    found = [values[at : at + width] for at in range(0, len(values), width)]
    assert len(found) == max(count, 0) + 1
    assert found == sorted(found)


@fuzz(data=mutated(UPDATES), width=st.sampled_from(WIDTHS), held=st.integers(0, 50))
def test_list_updates(data, width, held):
    """An update is refused, or its result is sorted, without doubles, and of the checksum that it names."""
    try:
        message = pb.HashList.FromString(data)
    except DecodeError:
        return
    before = entries(width, held) if held else None
    try:
        applied = apply_update(message, NAME, width, before)
    except BadUpdate:
        return
    if applied.entries is not None:
        found = [applied.entries[at : at + width] for at in range(0, len(applied.entries), width)]
        assert found == sorted(set(found))
        assert sha256(applied.entries).digest() == applied.checksum
        assert applied.checksum == message.sha256_checksum


@fuzz(data=mutated(UPDATES))
def test_messages_as_json(data):
    """A message that can be read at all says the same as JSON, if it has no wait of ten thousand years."""
    try:
        message = pb.HashList.FromString(data)
        text = json.dumps(MessageToDict(message))
    except (DecodeError, UnicodeDecodeError):
        return
    except SerializeToJsonError:
        wait = message.minimum_wait_duration
        assert abs(wait.seconds) > LONGEST_S or abs(wait.nanos) > MOST_NANOS or wait.seconds * wait.nanos < 0
        return
    again = ParseDict(json.loads(text), pb.HashList())
    message.DiscardUnknownFields()
    assert again == message
