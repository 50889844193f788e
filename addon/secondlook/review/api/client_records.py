"""Records of clients."""

from pydantic import ConfigDict

from secondlook.review.api.log_records import EventRecord
from secondlook.review.api.record import ClientName, Moment, Record
from secondlook.review.api.rule_records import PauseRecord, RuleRecord
from secondlook.review.api.statistics_records import ClientCounts


class ClientToErase(Record):
    """A client, by address or by user name, of whom nothing is to be kept."""

    model_config = ConfigDict(extra="forbid")

    client: ClientName


class Erased(Record):
    """What was deleted."""

    events: int


class ClientStatus(ClientCounts):
    """Checks of one client, with its group."""

    group: str | None


class ClientRecord(Record):
    """One client: what holds for it, what was made for it, its latest blocks and flags."""

    client: str
    users: list[str]
    last_seen: Moment | None
    group: str | None
    policy: dict[str, str]
    rules: list[RuleRecord]
    exceptions: list[RuleRecord]
    pauses: list[PauseRecord]
    latest: list[EventRecord]
