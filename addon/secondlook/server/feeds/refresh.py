"""Taking a fetched feed in: its entries replace those of the last fetch, if nothing speaks against it."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from secondlook.config.service import PublishSettings
from secondlook.core.display import counted
from secondlook.ground.files import replacing
from secondlook.server.feeds.feed_state import shrunk, too_few
from secondlook.server.publish.table import map_file
from secondlook.server.store.importing import DAY_S, FileReport, Origin, take_in
from secondlook.server.store.records import NO_TEXT, Records, keys, open_run, sort_records, write_rows
from secondlook.server.store.store import ServerStore, Source


def take_feed(
    store: ServerStore,
    chunks: Iterable[bytes],
    origin: Origin,
    settings: PublishSettings,
    *,
    expires_s: float | None = None,
    most: int = 0,
    accept_shrink: bool = False,
) -> FileReport:
    """Take one fetch of a feed; a refused one (empty, HTML, cut, shrunk) leaves the last good one in place.

    With `expires_s` entries that the feed no longer names stay so long after they were last seen. Whether
    a feed shrank is seen by what two fetches bring: else one that names the newest alone shut itself out.
    `most` is what it brought lately: held against that, it does not shrink away in small steps.
    """
    with store.writing():
        before = [
            source for source in store.sources() if source.kind == "feed" and source.name == origin.name
        ]
        report = take_in(store, chunks, origin)
        if report.refused or report.source is None:
            return report
        new = next(source for source in store.sources() if source.id == report.source)
        last = before[-1] if before else None
        if last is not None:
            had = None if accept_shrink else too_few(report.distinct, _brought(store, last), most, settings)
            if had is not None:
                store.forget_source(new.id)
                return replace(
                    report, source=None, refused=shrunk(counted(report.distinct, "entry", "entries"), had)
                )
            if expires_s:
                new = _carry_over(store, last, new, since_day=int((origin.now - expires_s) // DAY_S))
        for source in before:
            store.forget_source(source.id)
        return replace(report, lists=new.counts)


def _brought(store: ServerStore, source: Source) -> int:
    """Return how many entries a fetch brought itself, without those that it carries on from earlier ones."""
    if source.brought is not None:
        return source.brought
    last_seen = np.asarray(open_run(store.source_folder(source.id) / "records"))["last"]
    return int((last_seen == last_seen.max(initial=0)).sum())


def _carry_over(store: ServerStore, old: Source, new: Source, *, since_day: int) -> Source:
    """Add to a new source what only the old one has and was seen lately."""
    folder = store.source_folder(new.id)
    old_records = np.asarray(open_run(store.source_folder(old.id) / "records"))
    new_records = np.asarray(open_run(folder / "records"))
    if not len(old_records):
        return new
    kept = old_records[~_among(old_records, new_records) & (old_records["last"] >= since_day)]
    if not len(kept):
        return new
    families = list(new.families)
    numbers = {name: number + 1 for number, name in enumerate(families)}
    for number in np.unique(kept["family"][kept["family"] > 0]).tolist():
        name = old.families[number - 1]
        if name not in numbers:
            families.append(name)
            numbers[name] = len(families)
    moved = np.array([0, *(numbers.get(name, 0) for name in old.families)], dtype=np.uint16)
    kept["family"] = moved[kept["family"]]
    _move_texts(store, old, new, kept)
    merged = sort_records(np.concatenate([new_records, kept]))
    with replacing(folder / "records", synced=False) as file:
        write_rows(file, merged)
    kinds = np.bincount(merged["kind"], minlength=2)
    counts = dict(new.counts)
    for name in {*new.counts, *old.counts}:
        counts[name] = int(kinds[1 if name.startswith("x-file-") else 0])
    changed = replace(new, counts=counts, families=tuple(families))
    store.change_source(changed)
    return changed


def _among(records: Records, others: Records) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark the records whose hash is among the others."""
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.isin(keys(records), keys(others))
    return found


def _move_texts(store: ServerStore, old: Source, new: Source, kept: Records) -> None:
    """Copy the lines of text of kept records behind those of the new source."""
    lines = bytes(map_file(store.source_folder(old.id) / "texts"))
    path = store.source_folder(new.id) / "texts"
    offset = path.stat().st_size
    with path.open("ab") as file:
        for at in np.flatnonzero(kept["text"] != NO_TEXT):
            start = int(kept["text"][at])
            line = lines[start : lines.index(b"\n", start) + 1]
            file.write(line)
            kept["text"][at] = offset
            offset += len(line)
