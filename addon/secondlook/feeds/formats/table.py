"""Tables parted by commas, tabs, semicolons or bars: abuse.ch, PhishTank, MISP, Splunk, Zeek, and any other.

Columns are found by the header's names, even where it stands in a comment, else by their count, as columns
were added over the years. Without either, the first cell is what a row is about, if it is a URL and no other
cell is one. A row is one line: a stray quote spoils one row, not the rest of the file.
"""

from collections.abc import Iterable, Iterator, Sequence

from secondlook.feeds.entries.entry import Entry, RejectClass
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.digests import cells_with_digests
from secondlook.feeds.formats.header import Header, cells_of, header_of, unnamed_separator
from secondlook.feeds.formats.plain import note_comment
from secondlook.feeds.formats.qualifier import speaks_against
from secondlook.feeds.formats.row import KNOWN_COLUMNS, URL_CELL, Row, by_count, generic, typed
from secondlook.feeds.unpacking.text import TOO_LONG_MARK, Batch, batches

_MAX_DIGEST_CHARS = 64
_LOOKED_AT = 1_000


def parse_table(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a table of any known kind."""
    table = _Table(maker, tally)
    for first, lines in _gathered(batches(chunks)):
        if first == 1:
            table.look_at(lines)
        for number, line in enumerate(lines, first):
            text = line.strip(" \r\n\ufeff")
            if not text or text.isspace():
                tally.blanks += 1
            elif text[0] == "#" or not table.has_begun:
                if not table.is_header(text):
                    yield from _settled(number, table.begin(text), text, tally)
            elif line == TOO_LONG_MARK:
                tally.rows += 1
                tally.reject(number, RejectClass.TOO_LONG, "")
            else:
                made = table.row(text)
                if isinstance(made, list):
                    yield from _settled(number, made, text, tally)
                    continue
                tally.rows += 1
                yield from tally.settled(number, made, text)


def _settled(number: int, made: Iterable[Entry | RejectClass], text: str, tally: Tally) -> Iterator[Entry]:
    for each in made:
        tally.rows += 1
        yield from tally.settled(number, each, text)


def _gathered(pieces: Iterator[Batch]) -> Iterator[Batch]:
    """Put the first lines of a file together, however it comes in pieces."""
    lines: list[str] = []
    for _, more in pieces:
        lines += more
        if len(lines) >= _LOOKED_AT:
            break
    if lines:
        yield 1, lines
    yield from pieces


class _Table:
    """The reading of one table: its columns, once they are known."""

    def __init__(self, maker: Maker, tally: Tally) -> None:
        self._maker = maker
        self._tally = tally
        self._header: Header | None = None
        self._above: Header | None = (
            None  # named by the last comment: of use if it names the first row's cells
        )
        self.has_begun = False
        self._unnamed: str | None = None
        self._spreads = False  # a cell may hold several digests

    def look_at(self, lines: Sequence[str]) -> None:
        """Look at the first lines, for what parts the cells of rows without a header."""
        data = [line for line in lines[:_LOOKED_AT] if line.strip() and line.lstrip()[0] != "#"]
        self._unnamed = unnamed_separator(data)

    def is_header(self, text: str) -> bool:
        """Take the column names from a header, in a comment or not; returns whether a line is either."""
        comment = text[0] == "#"
        if comment:
            note_comment(text, self._tally)
        if self._header is not None or self.has_begun:
            return comment
        header = header_of(text)
        if comment and (header is None or header.reader is generic):
            self._above = header
            return True
        if header is None:
            return False
        self._header = header
        self._tally.comments += not comment
        return True

    def begin(self, text: str) -> list[Entry | RejectClass]:
        """Read the first row, by which the columns are known where no header named them."""
        self.has_begun = True
        if self._header is None and self._above is not None and self._above.names_cells_of(text):
            self._header = self._above
        if self._header is None:
            separator = self._unnamed or ","
            names, reader = by_count(cells_of(text, separator))
            if names or self._unnamed is None:
                self._header = Header(names, reader, separator)
        self._spreads = self._header is not None and self._header.reader in {generic, typed}
        made = RejectClass.TOO_LONG if text == TOO_LONG_MARK else self.row(text)
        return made if isinstance(made, list) else [made]

    def row(self, text: str) -> Entry | RejectClass | list[Entry | RejectClass]:
        """Read one row; a row that fits no column gives its one URL, if it has exactly one."""
        if self._header is None:
            return _leading(cells_of(text, self._unnamed or ","), self._maker)
        names, reader, separator = self._header
        cells = cells_of(text, separator)
        made: Entry | RejectClass = RejectClass.NOT_UNDERSTOOD
        if names and len(names) <= len(cells):
            row = dict(zip(names, cells, strict=False))
            if self._spreads and len(rows := _spread(row)) > 1:
                return [reader(each, self._maker) for each in rows]
            made = reader(row, self._maker)
        return self._only_url(cells) if made is RejectClass.NOT_UNDERSTOOD else made

    def _only_url(self, cells: Sequence[str]) -> Entry | RejectClass:
        urls = [cell for cell in cells if URL_CELL.match(cell)]
        others = [cell for cell in cells if cell.strip() and not cell.strip().isdigit() and cell not in urls]
        if len(urls) == 1 and not others:
            return self._maker.indicator(urls[0])
        return RejectClass.NOT_UNDERSTOOD


def _leading(cells: Sequence[str], maker: Maker) -> Entry | RejectClass:
    """Read a row without column names: its first cell, where that alone is a URL and none speaks against."""
    if not cells or not URL_CELL.match(cells[0]) or any(map(URL_CELL.match, cells[1:])):
        return RejectClass.NOT_UNDERSTOOD
    against = speaks_against(cells[1:], known_good=maker.known_good)
    return against or maker.indicator(cells[0].strip())


def _spread(row: Row) -> list[Row]:
    """Return a row once for each of several digests in one cell."""
    for name, cell in row.items():
        if len(cell) > _MAX_DIGEST_CHARS and name in KNOWN_COLUMNS:
            digests = cells_with_digests(cell)
            if len(digests) > 1:
                return [{**row, name: digest} for digest in digests]
    return [row]
