"""Taking entries out of a server's store: own ones, imported ones, whole sources.

An entry that a feed brings is not removed, as the next fetch would bring it again: an exception takes it out.
"""

from dataclasses import replace

import numpy as np

from secondlook.core.url.expression import Suffixes
from secondlook.ground.files import replacing
from secondlook.server.store.feeds_off import lists_off
from secondlook.server.store.manual_entries import manual_hash, parse_subject, read_manual, write_manual
from secondlook.server.store.names import import_list
from secondlook.server.store.records import RECORD, Records, hash_bytes, open_run, write_rows
from secondlook.server.store.store import FEEDS_FOLDER, ServerStore, Source

PART_RECORDS = 500_000


def remove(store: ServerStore, identity: str, *, suffixes: Suffixes, list_name: str | None = None) -> str:
    """Remove own entries (by id or text), a whole source (by id or name), or an imported entry; returns what.

    With `list_name` only entries of that list go. Raises LookupError when there is nothing of that name,
    ValueError for an unknown list.
    """
    wanted = import_list(list_name).name if list_name else None
    with store.writing():
        text = _text_of(identity, suffixes)
        own = read_manual(store)
        kept = [
            each
            for each in own
            if (identity not in {each.id, each.text} and text != each.text)
            or (wanted is not None and each.list != wanted)
        ]
        if len(kept) != len(own):
            write_manual(store, kept)
            return _removed(len(own) - len(kept), "own")
        found = [source for source in store.sources() if identity in {source.id, source.name}]
        if found and wanted is None:
            for source in found:
                store.forget_source(source.id)
                if source.kind == "feed":  # it is fetched anew then, whether its origin changed it or not
                    (store.root / FEEDS_FOLDER / f"{source.name}.json").unlink(missing_ok=True)
            return f"{sum(sum(source.counts.values()) for source in found)} entries of {found[0].name}"
        return _remove_imported(store, identity, suffixes, wanted)


def _text_of(identity: str, suffixes: Suffixes) -> str | None:
    """Return the text that an own entry for this would have; None when it names none."""
    try:
        return parse_subject(identity, suffixes)[1]
    except ValueError:
        return None


def _removed(count: int, kind: str) -> str:
    return f"one {kind} entry" if count == 1 else f"{count} {kind} entries"


def _remove_imported(store: ServerStore, identity: str, suffixes: Suffixes, wanted: str | None) -> str:
    """Take one entry out of every import that holds it; the caller holds the writer's lock."""
    nothing = f"no entry, exception or source is called {identity}"
    try:
        scope, text = parse_subject(identity, suffixes)
    except ValueError:
        raise LookupError(nothing) from None
    full_hash = np.frombuffer(manual_hash(scope, text), np.uint8)
    feeds: list[str] = []
    off = lists_off(store.root)
    count = 0
    for source in store.sources():
        name = next((each for each in source.counts if each.startswith("x-file-") is (scope == "file")), None)
        if name is None or name in source.dropped or wanted not in {None, name}:
            continue
        if source.kind == "import":
            count += _take_out(store, source, name, full_hash)
        elif source.name not in off and _holds(store, source, full_hash):
            feeds.append(source.name)
    if count:
        return _removed(count, "imported") + (f" (still in {', '.join(feeds)})" if feeds else "")
    if feeds:
        raise LookupError(f"{text} comes from {', '.join(feeds)}, which would bring it again")
    raise LookupError(nothing)


def _holds(store: ServerStore, source: Source, full_hash: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> bool:
    records = open_run(store.source_folder(source.id) / "records")
    return any(
        bool(_equal(np.asarray(records[at : at + PART_RECORDS]), full_hash).any())
        for at in range(0, len(records), PART_RECORDS)
    )


def _take_out(
    store: ServerStore, source: Source, name: str, full_hash: np.ndarray[tuple[int], np.dtype[np.uint8]]
) -> int:
    """Write a source's records without one hash, part by part; returns how many went."""
    if not _holds(store, source, full_hash):
        return 0
    path = store.source_folder(source.id) / "records"
    records = open_run(path)
    removed = 0
    with replacing(path, synced=False) as file:
        for at in range(0, len(records), PART_RECORDS):
            part = np.asarray(records[at : at + PART_RECORDS])
            equal = _equal(part, full_hash)
            removed += int(equal.sum())
            write_rows(file, part[~equal])
        counts = {**source.counts, name: source.counts[name] - removed}
        # before the records: where this is killed, there are more of them than it says, never fewer
        store.change_source(replace(source, counts=counts))
    if not any(counts.values()):
        store.forget_source(source.id)
    return removed


def _equal(
    part: Records, full_hash: np.ndarray[tuple[int], np.dtype[np.uint8]]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    assert part.dtype == RECORD
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = (hash_bytes(part) == full_hash).all(axis=1)
    return found
