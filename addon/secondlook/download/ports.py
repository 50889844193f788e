"""The query process as traffic sees it; `run` puts the real one in (`agent.check.gatekeeper`)."""

from collections.abc import Awaitable
from typing import Protocol

from secondlook.agent.ports import Scan
from secondlook.core.subject import RequestContext, Subject, UrlSubject
from secondlook.core.verdict import Decision


class Gatekeeper(Protocol):
    """The query process as traffic sees it; nothing here raises, every decision is settled (recorded)."""

    def subject(self, scheme: str, host: str, path: str | bytes) -> UrlSubject:
        """Make the subject of a request from what the proxy will really use."""

    def now(self, subject: Subject, context: RequestContext, *, scan: Scan | None = None) -> Decision | None:
        """Decide from what is in memory; None: somebody must be asked or waited for."""

    def check(
        self, subject: Subject, context: RequestContext, *, scan: Scan | None = None
    ) -> Awaitable[Decision]:
        """Decide within the budget and the time of the engines; a flag is committed before this returns."""

    def local(self, subject: Subject, context: RequestContext, *, late: bool = False) -> Decision | None:
        """Decide about something that nobody is asked about; None: a flag must be waited for.

        `late`: it has reached the client already; a find is recorded as a late verdict.
        """

    def check_local(self, subject: Subject, context: RequestContext) -> Awaitable[Decision]:
        """Decide about something that nobody is asked about; a flag is committed before this returns."""

    def unverifiable(
        self, subject: Subject, context: RequestContext, reason: str, *, block: bool | None = None
    ) -> Awaitable[Decision]:
        """Settle something that could not be checked: by the policy of its class, or as `block` demands."""

    def unsure(
        self,
        subject: Subject,
        context: RequestContext,
        reason: str,
        *,
        block: bool | None = None,
        scan: Scan | None = None,
    ) -> Awaitable[Decision]:
        """Check what could not be looked through: where nothing is known of it, it is unverifiable."""

    def settle(self, subject: Subject, context: RequestContext, decision: Decision) -> Awaitable[Decision]:
        """Record a decision that was made elsewhere."""

    def refuse(self, subject: Subject, context: RequestContext, reason: str) -> Awaitable[Decision]:
        """Record that something is closed to this client whatever it asks for."""

    def in_force(self) -> Awaitable[None]:
        """Wait (a fraction of a second) until what was found here is in force in the other workers too."""

    def digest_kinds(self) -> frozenset[str]:
        """Digests other than SHA-256 that a loaded file list or rule names: of `md5`, `sha1`."""
