"""How replication from the publisher goes: kept in its folder, so that a restart forgets nothing."""

from dataclasses import asdict, dataclass, replace

from secondlook.ground.files import write_whole
from secondlook.ground.instant import rfc3339
from secondlook.ground.json_text import read_json
from secondlook.server.store.store import ServerStore, dump_json

STATE_FILE = "upstream.json"


@dataclass(frozen=True, slots=True)
class ReplicationState:
    """`alert` is why the last pull failed; `behind` is set while the publisher serves less than it did."""

    alert: str | None = None
    behind: tuple[int, int] | None = None  # the generation it went back to, and the highest seen
    since: float | None = None  # when pulls began to fail (Unix seconds)

    def failed(self, why: str, now: float) -> "ReplicationState":
        """Return what it is after a pull that failed."""
        return replace(self, alert=why, since=now if self.since is None else self.since)

    def worked(self) -> "ReplicationState":
        """Return what it is after one that did not."""
        return replace(self, alert=None, since=None)

    def seen(self, before: int | None, number: int) -> "ReplicationState":
        """Return what it is once the publisher serves `number` and this replica served `before`."""
        highest = max(before or 0, self.behind[1] if self.behind else 0)
        return replace(self, behind=(number, highest) if number < highest else None)

    @property
    def lines(self) -> tuple[str, ...]:
        """Return a line for each thing that an administrator should know."""
        since = f" since {rfc3339(self.since)}" if self.since is not None else ""
        shown = [f"replication fails{since}, what is here stays: {self.alert}"] if self.alert else []
        if self.behind:
            shown.append("the publisher went back to generation {} from {}".format(*self.behind))
        return tuple(shown)


def read_replication_state(store: ServerStore) -> ReplicationState:
    """Read it; a folder that never replicated has none."""
    try:
        raw = read_json((store.root / STATE_FILE).read_bytes())
        behind = tuple(raw["behind"]) if raw["behind"] else None
        since = raw.get("since")  # a replica of 0.1.0 did not keep it
        return ReplicationState(raw["alert"], behind, float(since) if since is not None else None)
    except (OSError, ValueError, KeyError, TypeError):
        return ReplicationState()


def write_replication_state(store: ServerStore, state: ReplicationState) -> None:
    """Keep it."""
    write_whole(store.root / STATE_FILE, dump_json(asdict(state)))
