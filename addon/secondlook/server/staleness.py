"""Since when nothing came in: no publication and no feed as it was, or nothing that a replica asked for."""

from secondlook.config.service import ServerSettings
from secondlook.server.feeds.feed_state import read_state
from secondlook.server.replica.state import ReplicationState
from secondlook.server.store.store import FEEDS_FOLDER, ServerStore


def stale_since(
    settings: ServerSettings,
    store: ServerStore,
    created_at: float,
    now: float,
    replication: ReplicationState | None = None,
) -> float | None:
    """Return since when nothing came in, where that is longer than `publish.stale_after`; else None.

    `created_at` is when the served generation was made (0: there is none); all are Unix seconds. A replica
    that finds its publisher as it was is not stale, nor is a server without feeds, into which somebody
    imports.
    """
    if replication is not None:
        since = replication.since
    elif settings.feeds and created_at:
        paths = (store.root / FEEDS_FOLDER).glob("*.json")
        since = max(created_at, *(read_state(path.parent, path.stem).good_at for path in paths), 0.0)
    else:
        return None
    return since if since is not None and now - since > settings.publish.stale_after else None
