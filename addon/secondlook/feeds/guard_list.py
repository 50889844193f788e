"""Lists of known-good hosts from outside: MISP warninglists, and lists of popular hosts by their rank.

A warninglist's `.domain` stands for what lies below too; patterns, networks and digests in one are left out.
A line of a ranked list is `rank,host`, or a host whose rank is its place; further cells are ignored.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from secondlook.core.url.canonical import canonical_host
from secondlook.core.url.expression import Suffixes
from secondlook.feeds.detect import SAMPLE_CHARS, refuse_what_is_no_feed
from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.unpacking.archive import members
from secondlook.feeds.unpacking.text import batches, text_chunks
from secondlook.ground.json_text import read_json

WARNINGLIST = "warninglist"
DEFAULT_RANK = 10_000
MAX_WARNINGLIST_CHARS = 64 << 20
MAX_RANK_DIGITS = 18
_KINDS = frozenset(("hostname", "string"))


def known_good_lines(
    chunks: Iterable[bytes], *, name: str, form: str, suffixes: Suffixes, rank: int = DEFAULT_RANK
) -> list[str]:
    """Read a list into lines of `feeds.known_good`; `form` is `toplist`, `warninglist` or `auto`.

    Raises FeedRefused for what is no such list or names no host.
    """
    lines: dict[str, None] = {}
    for _, stream in members(chunks, name):
        pieces = list(_bounded(stream))
        sample = "".join(text_chunks(pieces[:1]))[:SAMPLE_CHARS]
        refuse_what_is_no_feed(sample)
        is_json = sample.lstrip("\ufeff \t\r\n").startswith("{") if form == "auto" else form == WARNINGLIST
        texts = _of_warninglist("".join(text_chunks(pieces))) if is_json else _of_toplist(pieces, rank)
        for text in texts:
            host, problem = canonical_host(text.removeprefix("."))
            if problem is None and "." in host and not _is_address(host) and not suffixes.is_registry(host):
                lines["." + host if text.startswith(".") else host] = None
    if not lines:
        raise FeedRefused("it names no host that is known to be good")
    return list(lines)


def _bounded(stream: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in stream:
        size += len(chunk)
        if size > MAX_WARNINGLIST_CHARS:
            raise FeedRefused(
                f"too large: a list of known-good hosts has at most {MAX_WARNINGLIST_CHARS} bytes"
            )
        yield chunk


def _of_warninglist(text: str) -> list[str]:
    try:
        raw: Any = read_json(text)
    except ValueError as error:
        raise FeedRefused(f"damaged: a warninglist is one JSON document: {error}") from error
    items = raw.get("list") if isinstance(raw, dict) else None
    if not isinstance(items, list) or str(raw.get("type")) not in _KINDS:
        kinds = " or ".join(sorted(_KINDS))
        raise FeedRefused(f"not a warninglist of hosts: expected a list and the type {kinds}")
    return [item.strip() for item in items if isinstance(item, str)]


def _of_toplist(pieces: Iterable[bytes], rank: int) -> Iterator[str]:
    place = 0
    for _, batch in batches(pieces):
        for line in batch:
            cells = [cell.strip().strip('"') for cell in line.split(",")]
            if not cells[0] or cells[0][0] in "#!;":
                continue
            place += 1
            is_ranked = cells[0].isdecimal() and len(cells) > 1
            if (int(cells[0][:MAX_RANK_DIGITS]) if is_ranked else place) <= rank:
                yield cells[1] if is_ranked else cells[0]


def _is_address(host: str) -> bool:
    return host[:1] == "[" or host[-1:].isdigit()
