"""Directories of a zip archive: which members each leads to, and where readers would disagree."""

import io
import struct
import zipfile

import pytest

from proxykit.archives import READ
from proxykit.samples import EICAR, prose, zipped
from secondlook.download.archives.archive_zip import Unpacked, ZipError
from secondlook.download.archives.zip_directory import listed, listed_otherwise

CONTENT = prose(5_000)
MOST = 100
CRC, PACKED, SIZE = 14, 18, 22  # in the header before a member
OTHERWISE = [name for name in READ if name.startswith("a directory ")]


def _with(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize("at", [CRC, PACKED, SIZE], ids=["check", "packed", "size"])
def test_a_directory_that_disagrees_with_a_header_is_ambiguous(at):
    data = _with(zipped({"x": CONTENT}), at, struct.pack("<I", 7))
    _, why = listed(io.BytesIO(data), MOST)
    assert why == "its directory and its headers disagree about 'x'"


@pytest.mark.parametrize("at", [6, 8], ids=["encrypted", "method"])
def test_a_header_that_says_otherwise_how_to_read_it_is_ambiguous(at):
    _, why = listed(io.BytesIO(_with(zipped({"x": CONTENT}), at, b"\x01")), MOST)
    assert why == "its directory and its headers disagree about 'x'"


def test_a_directory_that_leads_to_no_header_is_ambiguous():
    entries, why = listed(io.BytesIO(_with(zipped({"x": CONTENT}), 0, b"XX")), MOST)
    assert (entries, why) == ([], "'x' has no header")


def test_two_ends_that_both_reach_the_end_are_ambiguous():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x", EICAR)
        archive.comment = b"PK\x05\x06" + bytes(18)
    assert listed(buffer, MOST)[1] == "it has two directories"


def test_a_directory_of_more_members_than_may_be_is_not_taken_apart():
    data = zipped({str(number): b"" for number in range(MOST)})
    assert len(listed(io.BytesIO(data), MOST)[0]) == MOST
    with pytest.raises(ZipError, match="more than 99 members"):
        listed(io.BytesIO(data), MOST - 1)


@pytest.mark.parametrize("name", OTHERWISE)
def test_another_directory_leads_to_a_member_within_one_that_is_known(name):
    assert len(OTHERWISE) == 2
    file = io.BytesIO(READ[name]())
    known, _ = listed(file, MOST)
    (other,) = listed_otherwise(file, MOST, known)
    assert [entry.name for entry in known] == ["b"]
    assert known[0].start < other.header < known[0].start + known[0].packed
    assert Unpacked(file, other).read(1000) == EICAR


def test_the_directory_of_an_archive_that_is_a_member_is_not_one_of_this():
    file = io.BytesIO(zipped({"outer.zip": zipped({"inner": EICAR})}, zipfile.ZIP_STORED))
    known, why = listed(file, MOST)
    assert why is None
    assert list(listed_otherwise(file, MOST, known)) == []


def test_a_plain_archive_has_no_other_directory():
    file = io.BytesIO(zipped({"a": EICAR, "b": CONTENT}))
    known, _ = listed(file, MOST)
    assert list(listed_otherwise(file, MOST, known)) == []


def test_more_ends_than_are_followed_are_too_many():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x", EICAR)
        archive.comment = (b"PK\x05\x06" + bytes(18)) * 64
    known, _ = listed(buffer, MOST)
    with pytest.raises(ZipError, match="more than 64 ends"):
        list(listed_otherwise(buffer, MOST, known))


def test_members_of_all_other_directories_count_together():
    file = io.BytesIO(READ[OTHERWISE[1]]())
    known, _ = listed(file, MOST)
    with pytest.raises(ZipError):
        list(listed_otherwise(file, 0, known))
