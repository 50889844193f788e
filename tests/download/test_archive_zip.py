"""Zip archives by each of their views: what is listed, what is not, and what is recorded falsely."""

import io
import struct
import zipfile

import pytest

from proxykit.samples import EICAR, locked, program, prose, zipped
from secondlook.download.archives.archive_zip import Entry, Unpacked, ZipError, unlisted
from secondlook.download.archives.zip_directory import listed

CONTENT = prose(50_000) + program(50_000)
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
MOST = 100
CRC, PACKED, SIZE = 14, 18, 22  # in the header before a member


def _read(member: Unpacked, count: int = 1000) -> bytes:
    out = b""
    while piece := member.read(count):
        out += piece
    return out


def _only(data: bytes) -> tuple[io.BytesIO, Entry]:
    file = io.BytesIO(data)
    entries, _ = listed(file, MOST)
    (entry,) = entries
    return file, entry


def _with(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize("count", [1, 1000, 1 << 20])
@pytest.mark.parametrize("method", METHODS)
def test_a_member_is_unpacked_as_it_was_packed(method, count):
    content = CONTENT[:2000] if count == 1 else CONTENT
    file, entry = _only(zipped({"x": content}, METHODS[method]))
    member = Unpacked(file, entry)
    assert _read(member, count) == content
    assert (member.size, member.end) == (len(content), entry.start + entry.packed)


@pytest.mark.parametrize("method", ["deflated", "bzip2", "lzma"])
def test_no_step_gives_more_than_was_asked_for(method):
    file, entry = _only(zipped({"x": bytes(5_000_000)}, METHODS[method]))
    member, longest = Unpacked(file, entry), 0
    while piece := member.read(4096):
        longest = max(longest, len(piece))
    assert longest <= 4096
    assert member.size == 5_000_000


@pytest.mark.parametrize("method", ["deflated", "bzip2", "lzma"])
def test_a_member_that_ends_too_early_is_no_whole_one(method):
    data = zipped({"x": CONTENT}, METHODS[method])
    file, entry = _only(data)
    file = io.BytesIO(data[: entry.start + entry.packed // 2])
    with pytest.raises(EOFError):
        _read(Unpacked(file, entry))


@pytest.mark.parametrize(("at", "why"), [(CRC, "Bad CRC"), (SIZE, "not the declared one")])
def test_what_is_recorded_falsely_is_seen_at_the_end(at, why):
    data = _with(zipped({"x": CONTENT}), at, struct.pack("<I", 7))
    entry, _ = next(unlisted(io.BytesIO(data), {}))
    with pytest.raises(ZipError, match=why):
        _read(Unpacked(io.BytesIO(data), entry))


def test_an_encrypted_member_is_not_unpacked():
    file, entry = _only(locked({"x": EICAR}, "infected"))
    assert entry.encrypted
    with pytest.raises(ZipError, match="encrypted"):
        Unpacked(file, entry)


def test_a_method_that_nobody_knows_is_not_unpacked():
    _, entry = _only(zipped({"x": EICAR}))
    with pytest.raises(ZipError, match="method 98"):
        Unpacked(io.BytesIO(), Entry(entry.name, 98, False, 0, 0, 1, 1, 0))


def test_an_honest_archive_has_one_reading():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", EICAR)
        archive.mkdir("b")
        archive.writestr("c", CONTENT)
    entries, why = listed(buffer, MOST)
    assert why is None
    assert [(entry.name, entry.is_dir) for entry in entries] == [("a", False), ("b/", True), ("c", False)]
    ends = {entry.header: entry.start + entry.packed for entry in entries}
    assert list(unlisted(buffer, ends)) == []


def test_a_folder_with_something_in_it_is_a_file():
    file, entry = _only(zipped({"x/": EICAR}))
    assert not entry.is_dir
    assert _read(Unpacked(file, entry)) == EICAR


def test_what_no_directory_leads_to_is_found():
    """Readers that go from the front unpack the first archive, others the second."""
    first = zipped({"hidden": EICAR})
    data = first + prose(100) + zipped({"shown": CONTENT})
    entries, _ = listed(io.BytesIO(data), MOST)
    assert [entry.name for entry in entries] == ["shown"]
    ends = {entry.header: entry.start + entry.packed for entry in entries}
    file = io.BytesIO(data)
    found = list(unlisted(file, ends))
    assert [(entry.name, at) for entry, at in found] == [("hidden", 0)]
    assert _read(Unpacked(file, found[0][0])) == EICAR


def test_a_header_inside_what_was_unpacked_is_no_member():
    inner = zipped({"inner": EICAR})
    data = zipped({"outer.zip": inner}, zipfile.ZIP_STORED)
    entries, _ = listed(io.BytesIO(data), MOST)
    ends = {entry.header: entry.start + entry.packed for entry in entries}
    assert list(unlisted(io.BytesIO(data), ends)) == []
    assert [entry.name for entry, _ in unlisted(io.BytesIO(data), {0: 0})] == ["inner"]


def test_a_header_on_the_border_of_two_looks_is_found():
    for before in range((1 << 20) - 5, (1 << 20) + 2):
        data = bytes(before) + zipped({"x": EICAR})
        assert [at for _, at in unlisted(io.BytesIO(data), {})] == [before]


@pytest.mark.parametrize(
    ("at", "value"),
    [(26, b"\x00\x00"), (26, b"\x01\x10"), (8, b"\x21")],
    ids=["no name", "a name beyond the end", "method"],
)
def test_what_only_begins_like_a_header_is_none(at, value):
    data = zipped({"x": EICAR})
    assert [at for _, at in unlisted(io.BytesIO(data), {})] == [0]
    assert list(unlisted(io.BytesIO(_with(data, at, value)), {})) == []


def test_sizes_of_zip64_are_read():
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x", "w", force_zip64=True) as member,
    ):
        member.write(CONTENT)
    assert buffer.getvalue()[PACKED : PACKED + 8] == b"\xff" * 8
    entries, why = listed(buffer, MOST)
    assert why is None
    entry, _ = next(unlisted(buffer, {}))
    assert (entry.packed, entry.size) == (entries[0].packed, len(CONTENT))
    assert _read(Unpacked(buffer, entry)) == CONTENT


def test_sizes_behind_a_member_are_not_needed():
    class Forwards(io.BytesIO):
        def tell(self) -> int:
            raise OSError

    buffer = Forwards()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", CONTENT)
    file = io.BytesIO(buffer.getvalue())
    entry, _ = next(unlisted(file, {}))
    assert (entry.packed, entry.size, entry.check) == (None, None, None)
    assert _read(Unpacked(file, entry)) == CONTENT


def test_marks_without_number_cost_no_more_than_the_file():
    """Each was looked for in a megabyte that was read anew: a child took all of its time for two megabytes."""

    class Counted(io.BytesIO):
        came = 0

        def read(self, count=-1):
            data = super().read(count)
            self.came += len(data)
            return data

    file = Counted(b"PK\3\4" * 20_000)
    assert list(unlisted(file, {})) == []
    assert file.came < 20 * 80_000
