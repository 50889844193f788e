"""One check as it goes on, and how it concludes where nobody knows worse."""

from dataclasses import dataclass, replace

from secondlook.agent.check.evidence import ListedFinding, from_finding, is_listed, unknown, unverifiable
from secondlook.agent.check.view import Snapshot
from secondlook.core.subject import RequestContext, Subject, UrlSubject
from secondlook.core.verdict import Evidence, Stage, Step
from secondlook.ground.quickly import quickly_made


@quickly_made
@dataclass(frozen=True, slots=True)
class Case:
    """One check: a subject in its context, by what was known when it began; `steps` grow as it goes on."""

    snapshot: Snapshot
    subject: Subject
    context: RequestContext
    now: float
    started: float  # monotonic
    steps: list[Step]

    def is_open(self, evidence: Evidence) -> bool:
        """Return whether somebody may know worse: it is listed, and the policy lets that through."""
        policy = self.snapshot.policies.of(self.context.client, self.context.user)
        return is_listed(evidence) and not policy.blocks(evidence.risk)

    def from_finding(self, finding: ListedFinding, stage: Stage, attempts: int = 0) -> Evidence:
        """Return what a server's listing says of the subject, at the end of the steps so far."""
        return from_finding(finding, stage, self.subject, self.steps, attempts, self.now)

    def nothing_worse(
        self,
        stage: Stage,
        known: Evidence | None,
        *,
        server: str | None = None,
        stale: bool = False,
        attempts: int = 0,
    ) -> Evidence:
        """Conclude that nobody lists it, or nobody as worse than what is known."""
        if isinstance(self.subject, UrlSubject) and self.subject.problem is not None:
            return unverifiable(self.subject.problem, self.steps, stage=Stage.MALFORMED, attempts=attempts)
        if known is not None:
            return replace(known, steps=tuple(self.steps), attempts=attempts)
        return unknown(stage, self.steps, server=server, stale=stale, attempts=attempts)
