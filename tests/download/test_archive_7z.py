"""What py7zr hands out of a 7z archive is hashed, counted and kept."""

import hashlib
import io

import py7zr
import pytest

from proxykit.samples import EICAR, EICAR_SHA256, prose, seven
from secondlook.download.archives.archive_7z import MemberFactory

LARGE = prose(300_000)


class EnoughError(Exception):
    """There was more than may be."""


def test_each_member_is_hashed_and_kept():
    sizes: list[int] = []
    factory = MemberFactory(sizes.append, memory_bytes=1000)
    with py7zr.SevenZipFile(
        io.BytesIO(seven({"a/eicar.com": EICAR, "large": LARGE, "none": b""}))
    ) as archive:
        archive.extractall(factory=factory)
    found = dict(factory.members)
    assert found["a/eicar.com"].digest.hex() == EICAR_SHA256
    assert found["large"].digest == hashlib.sha256(LARGE).digest()
    assert found["large"].size() == len(LARGE)
    assert sum(sizes) == len(EICAR) + len(LARGE)
    content = found["large"].content()
    content.seek(0)
    assert content.read() == LARGE
    factory.close()
    with pytest.raises(ValueError, match="closed"):
        content.read()


def test_two_members_of_one_name_are_two():
    factory = MemberFactory(lambda _: None, memory_bytes=1000)
    first, second = factory.create("x"), factory.create("x")
    first.write(b"harmless")
    second.write(bytearray(EICAR))
    assert [member.digest.hex() for _, member in factory.members][1] == EICAR_SHA256
    factory.close()


def test_who_counts_may_stop_it_before_more_is_kept():
    def count(size: int) -> None:
        raise EnoughError

    member = MemberFactory(count, memory_bytes=1000).create("x")
    with pytest.raises(EnoughError):
        member.write(b"more")
    assert member.size() == 0
    assert member.content().tell() == 0
    member.forget()
