"""Hosts that no feed may block: those that feeds of known-good ones bring, and the operator's own."""

from collections.abc import Iterable

from secondlook.config.service import PublishSettings
from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.guard_list import DEFAULT_RANK, known_good_lines
from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.server.feeds.feed_state import shrunk, too_few
from secondlook.server.store.importing import FileReport
from secondlook.server.store.store import GUARD_FOLDER, OWED, OWN_HOSTS, ServerStore
from secondlook.suffix import load_suffixes


def take_guard(
    store: ServerStore,
    chunks: Iterable[bytes],
    *,
    name: str,
    form: str = "auto",
    rank: int | None = None,
    settings: PublishSettings | None = None,
    most: int = 0,
) -> FileReport:
    """Take one fetch of a list of known-good hosts; a refused one leaves the last good one in place.

    `most` is how many hosts it had lately, by which it must not shrink too far; 0: it may.
    """
    try:
        lines = known_good_lines(
            chunks, name=name, form=form, suffixes=load_suffixes(), rank=rank or DEFAULT_RANK
        )
    except FeedRefused as refusal:
        return FileReport(name=name, format=form, refused=str(refusal))
    folder = store.root / GUARD_FOLDER
    path = folder / f"{name}.txt"
    try:
        had = path.read_bytes().count(b"\n") if most and path.exists() else 0
        if (why := too_few(len(lines), had, most, settings or PublishSettings())) is not None:
            return FileReport(name=name, format=form, refused=shrunk(f"{len(lines)} hosts", why))
        with store.writing():
            folder.mkdir(exist_ok=True)
            write_whole(path, "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise PatternError(f"cannot write {folder}: {error.strerror}") from error
    return FileReport(name=name, format=form, accepted=len(lines), distinct=len(lines))


def keep_own_hosts(store: ServerStore, lines: Iterable[str]) -> None:
    """Note the operator's own hosts; where they changed, a publication is owed. Raises OSError."""
    path = store.root / OWN_HOSTS
    content = "".join(f"{line}\n" for line in lines).encode()
    if content == (path.read_bytes() if path.exists() else b""):
        return
    if store.current() is not None:
        (store.root / OWED).touch()
    write_whole(path, content)
