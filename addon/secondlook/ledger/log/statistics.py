"""Counts as people see them: by hours (`log.overview`), by clients, hosts, servers … (`log.figures`)."""

from secondlook.ledger.engine.store import Store
from secondlook.ledger.log import figures, overview
from secondlook.ledger.log.figures import ClientCount, Course, GatewayCount, Looks
from secondlook.ledger.log.overview import HourCount


class Statistics:
    """Reads counts; every method blocks its thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def hourly(self, since: float, until: float) -> list[HourCount]:
        """What was checked, blocked and flagged in each hour from `since` to `until`, empty hours too."""
        return self._store.read(lambda connection: overview.hourly(connection, since, until))

    def course(self, step: int, since: float, client: str | None = None) -> list[Course]:
        """Checks of everybody or of one client by stretches of `step` seconds (`counting.STEPS`)."""
        return self._store.read(lambda connection: figures.course(connection, step, since, client))

    def top(
        self, of: str, step: int, since: float, *, client: str | None = None, limit: int = 10
    ) -> list[tuple[str, int]]:
        """Hosts, lists or threats with most refused checks, of everybody or of one client."""
        return self._store.read(
            lambda connection: figures.top(connection, of, step, since, client=client, limit=limit)
        )

    def latency(self, of: str, step: int, since: float) -> dict[str, dict[str, int]]:
        """How many checks of each server, or each way (`counting.WAY`), ended within which bound (ms)."""
        return self._store.read(lambda connection: figures.latency(connection, of, step, since))

    def availability(self, step: int, since: float) -> list[Looks]:
        """Looks at each server by stretches of `step` seconds, and how many found it answering."""
        return self._store.read(lambda connection: figures.availability(connection, step, since))

    def gateways(self, step: int, since: float, *, limit: int = 10) -> list[GatewayCount]:
        """Gateways with most checks first."""
        return self._store.read(lambda connection: figures.gateways(connection, step, since, limit=limit))

    def clients(
        self, step: int, since: float, *, only: str | None = None, limit: int = 10
    ) -> list[ClientCount]:
        """Clients with most checks first, or one of them."""
        return self._store.read(
            lambda connection: figures.clients(connection, step, since, only=only, limit=limit)
        )
