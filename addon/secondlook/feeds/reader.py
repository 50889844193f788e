"""Reading a feed: detect its format, run its parser, count everything.

chunks of bytes ──► text ──► detect ──► parser ──► entries
                                          └──────► tally (accepted, rejected by class, first rejects)
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from secondlook.core.expression import Suffixes
from secondlook.feeds.detect import SAMPLE_CHARS, Format, detect
from secondlook.feeds.entry import Entry, FeedRefused
from secondlook.feeds.maker import Maker
from secondlook.feeds.plain import parse_hosts, parse_plain
from secondlook.feeds.tally import Tally
from secondlook.feeds.text import text_chunks

type Parser = Callable[[Iterable[bytes], Maker, Tally], Iterator[Entry]]

PARSERS: dict[Format, Parser] = {
    Format.PLAIN: parse_plain,
    Format.HOSTS: parse_hosts,
}


class Reading:
    """One pass over a feed; iterate it for the entries, then look at the tally.

    Iteration raises FeedRefused, at its beginning or (truncated) at its end: nothing that came out of a
    refused feed may be used.
    """

    def __init__(self, form: Format, entries: Iterator[Entry], tally: Tally) -> None:
        self.format = form
        self.tally = tally
        self._entries = entries

    def __iter__(self) -> Iterator[Entry]:
        yield from self._entries
        if self.tally.rows == 0:
            raise FeedRefused("empty: the feed holds comments and no entries")


def read(
    chunks: Iterable[bytes],
    *,
    suffixes: Suffixes,
    name_hint: str = "",
    format: str = "auto",  # noqa: A002 - the command line's word
    known_good: bool = False,
) -> Reading:
    """Begin to read a feed; `chunks` may be of any size.

    `known_good` says that the feed goes into a list that allows. Raises FeedRefused when the feed is empty,
    HTML, binary or of no known format.
    """
    iterator = iter(chunks)
    head: list[bytes] = []
    size = 0
    for chunk in iterator:
        head.append(chunk)
        size += len(chunk)
        if size >= SAMPLE_CHARS:
            break
    sample = "".join(text_chunks([b"".join(head)[:SAMPLE_CHARS]]))
    form = detect(sample, name_hint) if format == "auto" else Format(format)
    tally = Tally()
    maker = Maker(suffixes, known_good=known_good)
    return Reading(form, PARSERS[form](chain(head, iterator), maker, tally), tally)
