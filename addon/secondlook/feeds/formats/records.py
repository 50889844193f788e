"""JSON feeds: records of abuse.ch and PhishTank, MISP events and warninglists, hashlookup."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from secondlook.feeds.entries.entry import Entry, FeedRefused, RejectClass
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.objects import Found, objects
from secondlook.feeds.formats.plain import one
from secondlook.feeds.formats.row import Row, reader_of
from secondlook.feeds.unpacking.text import text_chunks

MAX_WARNINGLIST_ITEMS = 5_000_000
MIN_HASHLOOKUP_TRUST = 50
MAX_HEAD_CHARS = 65_536

_DECODER = json.JSONDecoder(strict=False)
MAX_ARRAYS = 20
_ARRAY = re.compile(r"\[\s*\{")
_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:')
_SPACE = " \t\r\n\ufeff"
_ENTERED = frozenset(("response", "data", "Event"))
_TRUE = (True, "1", "true")
_DIGEST_ORDER = ("sha256", "sha1", "md5")


def _texts(record: Mapping[str, Any]) -> Row:
    return {
        str(key).lower(): value if isinstance(value, str) else "" if value is None else str(value)
        for key, value in record.items()
        if not isinstance(value, (dict, list))
    }


def begins_with_records(sample: str) -> bool:
    """Return whether a text begins with records one after another (JSON lines), not with a document of them.

    One object alone is none: it may as well be the message of a server that has nothing to give.
    """
    try:
        value, end = _DECODER.raw_decode(sample, len(sample) - len(sample.lstrip(_SPACE)))
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict) or not sample[end:].lstrip(_SPACE).startswith("{"):
        return False
    nested = (item for each in value.values() if isinstance(each, list) for item in each)
    return reader_of(tuple(_texts(value))) is not None and not any(isinstance(item, dict) for item in nested)


def holds_records(sample: str) -> bool:
    """Return whether the arrays of a document begin with records, whatever the order of their keys."""
    for found in islice(_ARRAY.finditer(sample), MAX_ARRAYS):
        try:
            value, _ = _DECODER.raw_decode(sample, found.end() - 1)
        except (ValueError, RecursionError):  # cut off, or to be mended
            value = dict.fromkeys(_KEY.findall(sample, found.end()), "")
        if isinstance(value, dict) and reader_of(tuple(_texts(value))) is not None:
            return True
    return False


def parse_records(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read an array of records (or arrays under keys, or JSON lines) named as a known table's columns."""
    pieces = text_chunks(chunks)
    head = ""
    while len(head) < MAX_HEAD_CHARS and (piece := next(pieces, "")):
        head += piece
    for found in objects(chain([head], pieces), top=begins_with_records(head)):
        if found.value is None and found.text:
            tally.rows += 1
            tally.reject(found.line, RejectClass.NOT_UNDERSTOOD, found.text)
        if not isinstance(found.value, dict):
            continue
        row = _texts(found.value)
        reader = reader_of(tuple(row))
        tally.rows += 1
        made = reader(row, maker) if reader is not None else RejectClass.NOT_UNDERSTOOD
        yield from tally.settled(found.line, made, str(found.value.get("url", found.value))[:200])


def parse_misp_event(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read MISP events: attributes meant for detection, alone or in objects.

    The attributes of a file object are digests of one file: the strongest stands for it.
    """
    for found in objects(text_chunks(chunks), _ENTERED):
        if found.value is None and found.text:
            tally.rows += 1
            tally.reject(found.line, RejectClass.NOT_UNDERSTOOD, found.text)
        record = found.value
        if not isinstance(record, dict):
            continue
        if isinstance(record.get("Event"), dict):
            record = record["Event"]
        yield from _misp_record(found, record, maker, tally)


def _misp_record(found: Found, record: dict[str, Any], maker: Maker, tally: Tally) -> Iterator[Entry]:
    own = record if "to_ids" in record and "value" in record else None
    if own is not None:
        yield from _attributes(found.line, [own], maker, tally)
    attributes = record.get("Attribute")
    if isinstance(attributes, list):
        items = [item for item in attributes if isinstance(item, dict)]
        single_file = record.get("name") == "file"
        yield from _attributes(found.line, _strongest(items) if single_file else items, maker, tally)
        if single_file:
            tally.comments += len(items) - len(_strongest(items))
    nested = record.get("Object")
    if isinstance(nested, list):
        for item in nested:
            if isinstance(item, dict):
                yield from _misp_record(found, item, maker, tally)


def _strongest(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the weaker digests of one file."""
    usable = {str(item.get("type")) for item in items if _detects(item)}
    best = next((kind for kind in _DIGEST_ORDER if kind in usable), None)
    weaker = set(_DIGEST_ORDER) - {best} if best is not None else set()
    return [item for item in items if str(item.get("type")) not in weaker]


def _detects(item: Mapping[str, Any]) -> bool:
    return item.get("to_ids") in _TRUE and item.get("deleted") not in _TRUE


def _attributes(line: int, items: Iterable[dict[str, Any]], maker: Maker, tally: Tally) -> Iterator[Entry]:
    for item in items:
        tally.rows += 1
        kind, value = str(item.get("type", "")), str(item.get("value", ""))
        made: Entry | RejectClass
        if item.get("deleted") in _TRUE:
            made = RejectClass.INACTIVE
        else:
            made = maker.typed(kind, value) if _detects(item) else RejectClass.NOT_FOR_DETECTION
        yield from tally.settled(line, made, f"{kind} {value}")


def parse_warninglist(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a MISP warninglist (`list`, `type`): names that are known to be good or common.

    Raises FeedRefused where the list is one that blocks.
    """
    if not maker.known_good:
        raise FeedRefused(
            "known-good names: a warninglist can only be imported into a list of known-good sites"
        )
    kind = ""
    items: list[Found] = []
    for found in objects(text_chunks(chunks)):
        if found.path == ("list", "[]") and isinstance(found.value, str):
            items.append(found)
            if len(items) > MAX_WARNINGLIST_ITEMS:
                raise FeedRefused(f"too large: the warninglist has more than {MAX_WARNINGLIST_ITEMS} items")
        elif found.path == ("type",):
            kind = str(found.value)
    for line, _, value, _ in items:
        tally.rows += 1
        if kind in {"regex", "substring"}:
            tally.reject(line, RejectClass.PATTERN, value)
        else:
            yield from one(line, value.strip().removeprefix("."), maker, tally)


def parse_hashlookup(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read answers of CIRCL hashlookup, one object after another: files that are known and trusted.

    Raises FeedRefused where the list is one that blocks: known is not good, and it is not bad either.
    """
    if not maker.known_good:
        raise FeedRefused("known files: hashlookup can only be imported into a list of known-good files")
    for found in objects(text_chunks(chunks), top=True):
        record = found.value if isinstance(found.value, dict) else {}
        tally.rows += 1
        yield from tally.settled(found.line, _hashlookup(record, maker), str(record.get("SHA-256", ""))[:80])


def _hashlookup(record: Mapping[str, Any], maker: Maker) -> Entry | RejectClass:
    if record.get("KnownMalicious"):
        return RejectClass.NOT_FOR_DETECTION
    trust = record.get("hashlookup:trust")
    if not isinstance(trust, int) or maker.is_unsure(trust, MIN_HASHLOOKUP_TRUST):
        return RejectClass.LOW_CONFIDENCE
    for name in ("SHA-256", "SHA-1", "MD5"):
        value = record.get(name)
        if isinstance(value, str):
            return maker.digest(value)
    return RejectClass.NOT_UNDERSTOOD
