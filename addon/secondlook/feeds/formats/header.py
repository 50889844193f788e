"""The header of a table: the names of its columns and what parts its cells.

Without a header, what parts the cells is found by looking at the rows.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from secondlook.feeds.formats.row import URL_CELL, RowReader, reader_of

_SEPARATORS = (",", "\t", ";", "|")
_ZEEK_MARK = "#fields\t"
_MIN_UNNAMED_SHARE = 0.9
_OF_A_COLUMN = re.compile(  # and not of the rest of a URL: a date, several words, something quoted
    r"\s*(?:\"?[0-9]{4}-[0-9]{2}-[0-9]{2}\b.*|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4}|\".*\"|\S+\s.*)\s*",
    re.ASCII,
)
_WORD = re.compile(r"\s*[A-Za-z_-]{3,}\s*", re.ASCII)


class Header(NamedTuple):
    """The columns of a table, how they are parted, and how its rows are read."""

    names: tuple[str, ...]
    reader: RowReader
    separator: str

    def names_cells_of(self, line: str) -> bool:
        """Return whether a row has as many cells as there are names."""
        return len(cells_of(line, self.separator)) == len(self.names)


def header_of(line: str) -> Header | None:
    """Read a line, commented out or not, as a header; None when it names no column of use, or only one."""
    text = line.removeprefix(_ZEEK_MARK) if line.startswith(_ZEEK_MARK) else line.lstrip("#;! \t\ufeff")
    for separator in _SEPARATORS:
        if separator not in text:
            continue
        names = tuple(cell.strip().strip("\"'").lower() for cell in cells_of(text, separator))
        reader = reader_of(names) if len(names) > 1 else None
        if reader is not None:
            return Header(names, reader, separator)
    return None


def unnamed_separator(lines: Sequence[str]) -> str | None:
    """Find what parts the cells of rows that begin with a URL, without a known header; None: nothing does.

    A URL may hold all these characters, so nearly all rows must have the same number of cells, and some as
    no URL ends.
    """
    for separator in _SEPARATORS:
        rows = [line.split(separator) for line in lines if separator in line and URL_CELL.match(line)]
        sizes = Counter(map(len, rows))
        size, alike = sizes.most_common(1)[0] if sizes else (0, 0)
        if alike < _MIN_UNNAMED_SHARE * (len(lines) - 1) or (len(lines) == 1 and not alike):
            continue
        others = [cell for row in rows if len(row) == size for cell in row[1:]]
        marked = sum(1 for cell in others if _OF_A_COLUMN.fullmatch(cell))
        words = sum(1 for cell in others if _WORD.fullmatch(cell)) if alike > 1 else 0
        if (marked + words) * 2 >= alike:
            return separator
    return None


def cells_of(text: str, separator: str) -> list[str]:
    """Part a line into its cells; one that quotes badly has none."""
    if separator == "," and text[:1] == '"' and text[-1:] == '"' and '""' not in text and "\\" not in text:
        between = '", "' if '", "' in text else '","'
        cells = text[1:-1].split(between)
        if not any('"' in cell for cell in cells):
            return cells
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=separator != "\t"), [])
    except csv.Error:
        return []
