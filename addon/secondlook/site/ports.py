"""What the internal site needs from the ledger; `run` puts the real part in."""

from collections.abc import Awaitable
from typing import Protocol

from secondlook.core.event import Event


class Records(Protocol):
    """What the internal site reads and writes."""

    def event(self, event_id: str) -> Awaitable[Event | None]:
        """Find an event by its id."""

    def whole(self, event: Event) -> bool:
        """Whether the log kept the event's whole URL, so that an exception can be made of it."""

    def closed(self, event: Event) -> bool:
        """Whether a rule blocks now what an event is about, whatever blocked it then."""

    def make_exception(self, event: Event, duration_s: float) -> Awaitable[None]:
        """Allow the URL of a blocked event, for a while, to the client and user that it was blocked for.

        Once is enough: while such an exception holds, nothing more is made.
        """

    def pass_through(self, event: Event, duration_s: float) -> Awaitable[None]:
        """Have the TLS of a failure's host passed through for a while, for the client and user that met it.

        In force in every worker when this is done.
        """
