"""What the review needs of the running program beside its ledger; `run` provides it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from secondlook.core.subject import UrlSubject
from secondlook.core.tls_exception import Lasting
from secondlook.ground.first_steps import FirstSteps

type Json = dict[str, Any]


class SettingsEditor(Protocol):
    """What can be done to the settings file; each raises `operations.Refused`, all but `try_feed` block."""

    def facts(self) -> Json:
        """What the file holds of feeds, policy and groups; `off`, and why it is `not_written`."""

    def preview(self, kind: str, values: Mapping[str, str]) -> Json:
        """Describe a change: its `effect`, the `difference`, the `digest` of what it was made of."""

    def apply(self, kind: str, values: Mapping[str, str], digest: str, who: str | None) -> Json:
        """Write a change and have it read; returns what `outcome` is asked with: readings, file."""

    def outcome(self, readings: int, file: str) -> Json:
        """Return what became of it: state (reading, in_force, refused), why, workers."""

    async def try_feed(self, values: Mapping[str, str]) -> Json:
        """Fetch and read a feed without keeping anything: counts, rejects, refused."""


class RunningProgram(Protocol):
    """What the running program can do beside its ledger; every answer is in the contract's words."""

    started_at: float  # Unix seconds
    proxy: str  # `host:port`
    first_steps: FirstSteps  # what a newcomer has done
    assessing: bool  # nothing is enforced
    shared_as: str | None  # its name among those that share its ledger; None where no other does
    gateways: bool  # gateways may ask
    passages: Lasting  # how long TLS is passed through
    authority: Path  # the certificate of the authority (PEM)
    editor: SettingsEditor  # changes the settings file

    @property
    def address_of_others(self) -> str | None:
        """`host:port` by which other devices reach the proxy; None where they do not."""

    def url_subject(self, text: str) -> UrlSubject:
        """Bring a URL into canonical form."""

    async def check(self, text: str, client: str | None = None) -> Json:
        """Check a URL or digest, as a client sees it: the answer of `secondlook check --json`.

        Raises ValueError for what is neither.
        """

    async def verify(self) -> None:
        """Have every flagged subject looked at now; returns at once."""

    async def update(self, *, force: bool = False) -> None:
        """Have the lists and feeds fetched now; returns at once. `force`: also what a rollback gave up."""

    def rolled_back(self) -> str | None:
        """Return which lists a rollback keeps as they were; None: none. Blocks."""

    def client(self, name: str) -> Json:
        """Describe an address or a user: group (None: in none) and policy, by words of ours."""

    def names(self) -> Mapping[str, str]:
        """What people call clients, by address or user."""

    def lists(self) -> Sequence[Json]:
        """Lists of the pattern: name, title, meaning, count, size_bytes, server, generation, confirmed_at.

        The title is what people call the list. Blocks.
        """

    def servers(self) -> Sequence[Json]:
        """Servers: name, tier, up, detail."""

    def location(self) -> str:
        """Where the machine is and which tier is asked, in a sentence."""

    def feeds(self) -> Sequence[Json]:
        """Feeds of the embedded server: name, licence, count, held_back, fetched_at, state, off. Blocks."""

    def alerts(self) -> Sequence[Json]:
        """What needs attention: kind (bad or warn), title, text, href, link, or `unprotected` too. Blocks."""

    def backtest(self, rule: str, days: int, action: str = "block") -> Json:
        """Return what a rule, list or level would have changed. Raises ValueError.

        examined; matched (blocked in addition), hosts (host, count); newly_allowed, allowed_hosts.
        """

    async def restore(self, record_id: str) -> None:
        """Put a quarantined file back and allow it. Raises ValueError or OSError."""

    async def delete_quarantined(self, record_id: str) -> None:
        """Delete a quarantined file. Raises ValueError or OSError."""

    def metrics(self) -> bytes:
        """Render all metrics for Prometheus; blocks."""
