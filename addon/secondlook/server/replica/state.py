"""How replication from the publisher goes: kept in its folder, so that a restart forgets nothing."""

from dataclasses import asdict, dataclass

from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.server.store.store import ServerStore, dump_json

STATE_FILE = "upstream.json"


@dataclass(frozen=True, slots=True)
class ReplicationState:
    """`alert` is why the last pull failed; `behind` is set while the publisher serves less than it did."""

    alert: str | None = None
    behind: tuple[int, int] | None = None  # the generation it went back to, and the highest seen

    def seen(self, before: int | None, number: int) -> "ReplicationState":
        """Return what it is once the publisher serves `number` and this replica served `before`."""
        highest = max(before or 0, self.behind[1] if self.behind else 0)
        return ReplicationState(self.alert, (number, highest) if number < highest else None)

    @property
    def lines(self) -> tuple[str, ...]:
        """Return a line for each thing that an administrator should know."""
        shown = [f"replication fails, what is here stays: {self.alert}"] if self.alert else []
        if self.behind:
            shown.append("the publisher went back to generation {} from {}".format(*self.behind))
        return tuple(shown)


def read_replication_state(store: ServerStore) -> ReplicationState:
    """Read it; a folder that never replicated has none."""
    try:
        raw = read_json((store.root / STATE_FILE).read_bytes())
        return ReplicationState(raw["alert"], tuple(raw["behind"]) if raw["behind"] else None)
    except (OSError, ValueError, KeyError, TypeError):
        return ReplicationState()


def write_replication_state(store: ServerStore, state: ReplicationState) -> None:
    """Keep it."""
    write_whole(store.root / STATE_FILE, dump_json(asdict(state)))
