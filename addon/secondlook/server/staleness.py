"""How long ago something came in last: a publication, or a fetch that found a feed as it was."""

from secondlook.server.feeds.feed_state import read_state
from secondlook.server.store.store import FEEDS_FOLDER, ServerStore


def age_of(store: ServerStore | None, created_at: float, now: float) -> float | None:
    """Return the seconds since anything came in; None while nothing is published.

    `created_at` is when the served generation was made (Unix seconds, 0: there is none).
    """
    if not created_at:
        return None
    folder = store.root / FEEDS_FOLDER if store is not None else None
    paths = folder.glob("*.json") if folder else ()
    return now - max(created_at, *(read_state(path.parent, path.stem).good_at for path in paths), 0.0)
