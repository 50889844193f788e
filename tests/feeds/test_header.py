"""The header of a table, and what parts its cells."""

import pytest

from secondlook.feeds.formats.header import cells_of, header_of, unnamed_separator
from secondlook.feeds.formats.row import generic, typed


@pytest.mark.parametrize(
    ("line", "separator", "names"),
    [
        ("url,seen", ",", ("url", "seen")),
        ("# Domain;First seen", ";", ("domain", "first seen")),
        ('"SHA256"\t"Name"', "\t", ("sha256", "name")),
        ("ip | port", "|", ("ip", "port")),
        ("\ufeffurl,seen", ",", ("url", "seen")),
    ],
)
def test_a_line_that_names_a_known_column_is_a_header(line, separator, names):
    header = header_of(line)
    assert (header.separator, header.names, header.reader) == (separator, names, generic)


def test_a_header_with_types_reads_by_them():
    assert header_of("#fields\tindicator\tindicator_type").reader is typed


@pytest.mark.parametrize(
    "line",
    [
        "",
        "url",
        "name,seen",
        "http://a.example/x,2026-01-01",
        "url,2026-01-01",
        "# a list of bad sites",
        "a,b",
    ],
)
def test_a_line_that_names_none_or_only_one_is_no_header(line):
    assert header_of(line) is None


def test_a_header_names_the_cells_of_rows_as_long_as_itself():
    header = header_of("url,seen")
    assert header.names_cells_of("http://a.example/,x")
    assert header.names_cells_of('"http://a.example/?a,b",x')
    assert not header.names_cells_of("http://a.example/,x,y")


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_what_parts_rows_is_found_by_looking_at_them(separator):
    rows = [
        separator.join((f"http://a{number}.example/", "2026-01-01", "some words")) for number in range(10)
    ]
    assert unnamed_separator(rows) == separator


def test_urls_that_hold_separators_are_not_parted():
    assert unnamed_separator([f"http://a.example/?a={number},b;c" for number in range(10)]) is None


def test_cells():
    assert cells_of('"a","b, c"', ",") == ["a", "b, c"]
    assert cells_of('"a", "b"', ",") == ["a", "b"]
    assert cells_of('a, "b ""c"""', ",") == ["a", 'b "c"']
    assert cells_of("a\t b", "\t") == ["a", " b"]
    assert cells_of("", ",") == []
