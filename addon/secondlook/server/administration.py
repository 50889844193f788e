"""What an administrator does with a server's entries: look, add, except, test, roll back.

Everything works on the folder, beside a running server; it takes effect with the next publication
(rollback: at once).
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from secondlook.core.lists.name import ListName
from secondlook.core.url.canonical import url_subject
from secondlook.core.url.expression import Suffixes
from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.ground.program_name import typed
from secondlook.server.feeds.feed_state import read_state
from secondlook.server.publish.generation import Generation
from secondlook.server.publish.held_back import HeldBack, read_held_back
from secondlook.server.publish.signing import known_public_key
from secondlook.server.replica.state import read_replication_state
from secondlook.server.store.feed_alerts import not_published_yet, state_of_off
from secondlook.server.store.feeds_off import lists_off, read_off
from secondlook.server.store.manual_entries import (
    ManualEntry,
    manual_hash,
    next_id,
    parse_subject,
    read_manual,
    target_list,
    write_manual,
)
from secondlook.server.store.names import import_list
from secondlook.server.store.records import NO_TEXT, Records, open_run
from secondlook.server.store.store import FEEDS_FOLDER, HELD, ServerStore, Source
from secondlook.wire import safebrowsing_pb2 as pb

_ABOUT = {1: "dangerous", 2: "highly_suspicious", 3: "suspicious"}


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry of a source as `server list` shows it."""

    text: str
    list: str
    source: str
    who: str
    added_at: float
    family: str | None = None
    first_seen: float | None = None
    id: str | None = None  # of an own entry or exception
    reason: str | None = None
    expires_at: float | None = None
    is_off: bool = False  # of a feed that is off: kept, and not in force


@dataclass(frozen=True, slots=True)
class Listed:
    """One way in which a subject is listed: which expression, in which list, by which feeds."""

    expression: str
    list: str
    risk: str
    feeds: tuple[str, ...]
    family: str | None


def add_entry(
    store: ServerStore,
    subject: str,
    *,
    target: ListName | None,
    suffixes: Suffixes,
    who: str,
    now: float,
    reason: str | None = None,
    expires_at: float | None = None,
) -> ManualEntry:
    """Add an own entry (host, URL, URL prefix or digest) to a list; the same one again is replaced.

    Without a list it is an exception, which takes entries of feeds out: a host with its subdomains, what
    stands under a path, one URL or one digest. See `still_listed_by` for wider entries that stay.
    Raises ValueError for a subject that no list can hold.
    """
    scope, text = parse_subject(subject, suffixes)
    name = None if target is None else target_list(target, scope, text).name
    action: Literal["list", "except"] = "except" if target is None else "list"
    with store.writing():
        entries = read_manual(store)
        kept = [each for each in entries if (each.text, each.list, each.action) != (text, name, action)]
        entry = ManualEntry(
            id=next_id(entries),
            action=action,
            scope=scope,
            text=text,
            list=name,
            who=who,
            at=now,
            reason=reason,
            expires_at=expires_at,
        )
        write_manual(store, [*kept, entry])
    return entry


def entries(
    store: ServerStore,
    *,
    list_name: str | None = None,
    search: str | None = None,
    own_only: bool = False,
) -> Iterator[EntryRow]:
    """Return the entries, own ones first, then source by source; `search` is a part of the text."""
    wanted = import_list(list_name).name if list_name else None
    for own in read_manual(store):
        name = own.list or "exception"
        if (wanted is None or wanted == own.list) and (search is None or search in own.text):
            yield EntryRow(
                own.text,
                name,
                "own",
                own.who,
                own.at,
                id=own.id,
                reason=own.reason,
                expires_at=own.expires_at,
            )
    off = lists_off(store.root)
    for source in () if own_only else store.sources():
        is_off = source.kind == "feed" and source.name in off
        yield from _rows(store, source, wanted, search, is_off=is_off)


def _rows(
    store: ServerStore, source: Source, wanted: str | None, search: str | None, *, is_off: bool
) -> Iterator[EntryRow]:
    folder = store.source_folder(source.id)
    names = [
        next((name for name in source.counts if name.startswith("x-file-") is is_file), None)
        for is_file in (False, True)
    ]
    records = open_run(folder / "records")
    with (folder / "texts").open("rb") as file:
        texts = (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if (folder / "texts").stat().st_size else b""
        )
        for start in range(0, len(records), 10_000):
            part: Records = np.asarray(records[start : start + 10_000])
            for row in part:
                name = names[int(row["kind"])]
                if name is None or name in source.dropped or (wanted is not None and name != wanted):
                    continue
                text = _text(row, texts)
                if search is None or search in text:
                    family = source.families[row["family"] - 1] if row["family"] else None
                    seen = float(row["day"]) * 86_400 if row["day"] else None
                    yield EntryRow(
                        text, name, source.name, source.who, source.added_at, family, seen, is_off=is_off
                    )


def _text(row: np.void, texts: mmap.mmap | bytes) -> str:
    at = int(row["text"])
    if at == NO_TEXT:
        return bytes(row["hash"]).hex()
    return texts[at : texts.find(b"\n", at)].decode("utf-8", "replace")


def check(store: ServerStore, subject: str, *, suffixes: Suffixes) -> list[Listed]:
    """Return how the published generation lists a URL, host or digest; empty when it does not.

    Raises ValueError for a subject that is none, PatternError when nothing is published.
    """
    number = store.current()
    if number is None:
        raise PatternError("nothing is published yet")
    table = Generation(store.generation_folder(number)).table
    found = []
    for full_hash, expression in asked_of(subject, suffixes).items():
        for row in table.find(int.from_bytes(full_hash[:4])):
            if table.full_hash(row) == full_hash:
                found += listed_of(pb.FullHash.FromString(table.details(row)), expression)
    return found


def asked_of(subject: str, suffixes: Suffixes) -> dict[bytes, str]:
    """Return the full hashes under which a subject may be listed, with what each stands for; ValueError."""
    scope, text = parse_subject(subject, suffixes)
    if scope == "file":
        return {manual_hash(scope, text): text}
    parsed = url_subject(subject.strip(), suffixes)
    return dict(zip(parsed.hashes, parsed.expressions, strict=True))


def listed_of(found: pb.FullHash, expression: str) -> list[Listed]:
    """Return what is recorded about a full hash that was found."""
    return [
        Listed(expression, each.list, _ABOUT.get(each.risk, ""), tuple(each.feeds), each.family or None)
        for each in found.full_hash_details
    ]


def still_listed_by(store: ServerStore, subject: str, *, suffixes: Suffixes) -> list[Listed]:
    """Return which entries would go on blocking a subject after an exception for it: the wider ones."""
    scope, text = parse_subject(subject, suffixes)
    return [
        each
        for each in check(store, subject, suffixes=suffixes)
        if scope != "file" and each.expression != text
    ]


def rollback(store: ServerStore, number: int | None = None) -> int:
    """Serve an earlier generation (default: the one before) until somebody publishes; returns its number.

    One that was gone back from is never gone back to. Raises PatternError when there is none, or when it is
    damaged.
    """
    with store.writing():
        current = store.current()
        bad = store.rolled_back()
        earlier = [
            each for each in store.generations() if current is not None and each < current and each not in bad
        ]
        if number is None:
            if not earlier:
                left = " but such as were rolled back from" if bad else ""
                raise PatternError(f"there is no earlier generation{left}")
            number = earlier[-1]
        if number not in store.generations():
            raise PatternError(f"there is no generation {number}")
        if number in bad:
            raise PatternError(
                f"generation {number} was rolled back from; `{typed('server publish')}` makes a new one of "
                "what the sources hold now"
            )
        Generation(store.generation_folder(number)).verify()
        if current is not None and current != number:
            store.note_rolled_back(current)
        write_whole(store.root / HELD, f"{number}\n".encode())
        store.set_current(number)
        return number


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """One feed as `server status` shows it; instants in Unix seconds, 0: never. `off`: what became of it."""

    name: str
    entries: int
    good_at: float
    due_at: float
    error: str | None
    off: str | None = None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What `server status` shows; `held_back` is None before anything was published here.

    `key` is the publisher's public key (hex), `upstream` what a replica reports about its publisher.
    """

    published: Generation | None
    generation: int | None
    created_at: float | None
    lists: dict[str, int]
    kept: tuple[int, ...]
    held: bool
    rolled_back: tuple[int, ...]
    held_back: tuple[HeldBack, ...] | None
    sources: tuple[Source, ...]
    own_entries: int
    feeds: tuple[FeedStatus, ...]
    key: str | None
    upstream: tuple[str, ...]


def status(store: ServerStore, configured_key: Path | None = None) -> ServerStatus:
    """Return the state of a server's folder; raises PatternError when the current generation is damaged.

    Before the first publication the key is the one that will sign it, where it is there already.
    """
    number = store.current()
    generation = Generation(store.generation_folder(number)) if number is not None else None
    feeds = []
    off, waiting = read_off(store.root), not_published_yet(store)
    for path in sorted((store.root / FEEDS_FOLDER).glob("*.json")):
        name, state = path.stem, read_state(path.parent, path.stem)
        now_off = state_of_off(name, off[name], waiting) if name in off else None
        error = None if now_off else state.error  # of a feed that is not fetched it is past
        feeds.append(FeedStatus(name, state.entries, state.good_at, state.due_at, error, now_off))
    return ServerStatus(
        generation,
        number,
        generation.created_at if generation else None,
        {name: entry.count for name, entry in generation.lists.items()} if generation else {},
        tuple(store.generations()),
        (store.root / HELD).exists(),
        tuple(sorted(store.rolled_back())),
        read_held_back(store.root),
        tuple(store.sources()),
        len(read_manual(store)),
        tuple(feeds),
        generation.manifest.get("key") if generation else known_public_key(store.root, configured_key),
        read_replication_state(store).lines,
    )
