"""Entries in Rice-Golomb coding, as the message of the field that takes them."""

from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.rice import encode


def rice32(entries: bytes) -> pb.RiceDeltaEncoded32Bit:
    """Encode sorted entries of four bytes, or positions."""
    coded = encode(entries, 4)
    assert isinstance(coded, pb.RiceDeltaEncoded32Bit)
    return coded


def rice64(entries: bytes) -> pb.RiceDeltaEncoded64Bit:
    """Encode sorted entries of eight bytes."""
    coded = encode(entries, 8)
    assert isinstance(coded, pb.RiceDeltaEncoded64Bit)
    return coded
