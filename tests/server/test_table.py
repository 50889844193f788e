"""A table of full hashes in files made by hand, as its description says."""

import struct
from array import array

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server.publish import table as columns
from secondlook.server.publish.table import Table

DETAILS = (b"first", b"", b"third one")
FIRST, LAST = 0, 0xFFFF_FFFF
ROWS = [  # prefix, the byte that the rest is of, which details
    (FIRST, 1, 0),
    (0x0001_0000, 2, 1),
    (0x0001_0000, 3, 2),
    (0x0001_0000, 4, 0),
    (0x0001_0001, 5, 0),
    (0x0001_FFFF, 6, 1),
    (0x0002_0000, 7, 2),
    (LAST, 8, 2),
]


def hash_of(row):
    prefix, rest, _ = row
    return prefix.to_bytes(4, "big") + bytes([rest]) * 28


def write(folder, rows=ROWS, details=DETAILS):
    starts = [sum(prefix >> 16 < high for prefix, _, _ in rows) for high in range(65_537)]
    ends = [sum(map(len, details[:at])) for at in range(len(details) + 1)]
    files = {
        columns.PREFIX: array("I", [prefix for prefix, _, _ in rows]).tobytes(),
        columns.REST: b"".join(hash_of(row)[4:] for row in rows),
        columns.DETAIL: array("I", [which for _, _, which in rows]).tobytes(),
        columns.INDEX: array("I", starts).tobytes(),
        columns.DETAILS: struct.pack(f"<Q{len(ends)}Q", len(details), *ends) + b"".join(details),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def table(tmp_path):
    write(tmp_path)
    return Table(tmp_path)


@pytest.mark.parametrize("prefix", sorted({prefix for prefix, _, _ in ROWS}))
def test_a_prefix_finds_all_its_hashes_and_no_other(table, prefix):
    found = [table.full_hash(row) for row in table.find(prefix)]
    assert found == [hash_of(row) for row in ROWS if row[0] == prefix]


@pytest.mark.parametrize("prefix", [1, 0xFFFF, 0x0001_0002, 0x0001_FFFE, 0x0002_0001, 0x8000_0000, LAST - 1])
def test_a_prefix_that_is_not_there_finds_nothing(table, prefix):
    assert not table.find(prefix)


def test_each_hash_has_its_own_details(table):
    assert len(table) == len(ROWS)
    assert [table.details(at) for at in range(len(ROWS))] == [DETAILS[which] for _, _, which in ROWS]


def test_a_hash_is_there_whole_or_not_at_all(table):
    every = [hash_of(row) for row in ROWS]
    others = [full_hash[:31] + b"\xff" for full_hash in every]
    assert all(map(table.has, every))
    assert not any(map(table.has, others))
    assert table.held([*others, *every]) == every
    assert table.held(others) == []
    assert table.held([]) == []


def test_a_table_without_entries_finds_nothing(tmp_path):
    write(tmp_path, [], [])
    table = Table(tmp_path)
    assert len(table) == 0
    assert not table.find(FIRST)
    assert not table.find(LAST)
    assert not table.has(bytes(32))


@pytest.mark.parametrize("change", ["shorter by a row", "longer by a row", "torn", "empty", "gone"])
@pytest.mark.parametrize(
    ("name", "width"),
    [
        (columns.PREFIX, 4),
        (columns.REST, 28),
        (columns.DETAIL, 4),
        (columns.INDEX, 4),
        (columns.DETAILS, 8),
    ],
)
def test_a_table_of_which_a_file_is_damaged_is_not_opened(tmp_path, name, width, change):
    write(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    match change:
        case "shorter by a row":
            path.write_bytes(content[:-width])
        case "longer by a row":
            path.write_bytes(content + bytes(width))
        case "torn":
            path.write_bytes(content[:-1])
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
    with pytest.raises(PatternError):
        Table(tmp_path)


def test_details_cut_among_their_offsets_are_not_opened(tmp_path):
    write(tmp_path)
    path = tmp_path / columns.DETAILS
    path.write_bytes(path.read_bytes()[:24])
    with pytest.raises(PatternError):
        Table(tmp_path)


def test_an_index_that_counts_other_rows_is_not_opened(tmp_path):
    write(tmp_path)
    path = tmp_path / columns.INDEX
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<I", len(ROWS) - 1))
    with pytest.raises(PatternError):
        Table(tmp_path)


@pytest.mark.parametrize("which", [len(DETAILS) - 1, len(DETAILS)])
def test_details_out_of_bounds_are_an_error_of_that_row_alone(tmp_path, which):
    write(tmp_path, [(FIRST, 1, which), (LAST, 2, 0)])
    table = Table(tmp_path)
    if which < len(DETAILS):
        assert table.details(0) == DETAILS[which]
    else:
        with pytest.raises(PatternError):
            table.details(0)
    assert table.details(1) == DETAILS[0]
