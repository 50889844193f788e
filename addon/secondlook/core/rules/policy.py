"""Policy: evidence becomes a decision (query process, "Policy").

```
evidence                                   decision
allowed by a rule                          allow
blocked by a rule                          block
nobody could answer (`unverifiable`)       what `unverifiable` is for the class: flag or block
listed, risk within the level              block
listed, risk below the level               allow
unknown: an answer that lists nothing      allow, or block with `block_untested`
clean                                      allow
```

In assessment mode and while protection is paused the same is decided and nothing is enforced: a block
becomes an allow, or a flag where nobody could answer, marked as one that would have been a block.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, assert_never

from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, SubjectClass, Verdict


class Level(StrEnum):
    """How much risk is blocked."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Mode(StrEnum):
    """Whether decisions are enforced."""

    ENFORCE = "enforce"
    ASSESS = "assess"


BLOCKED: Final[dict[Level, frozenset[Risk]]] = {
    Level.HIGH: frozenset({Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS}),
    Level.MEDIUM: frozenset({Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS}),
    Level.LOW: frozenset({Risk.DANGEROUS}),
}

UNVERIFIABLE: Final[dict[SubjectClass, Action]] = {
    SubjectClass.PAGE: Action.FLAG,
    SubjectClass.SUBRESOURCE: Action.FLAG,
    SubjectClass.DOWNLOAD: Action.FLAG,
    SubjectClass.MALFORMED: Action.BLOCK,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What is blocked, and what happens to a subject that nobody could answer about, by class of use.

    `override_s` is how long an exception lasts that a client makes for itself on its block page, `unopened_s`
    one by which it has TLS passed through that cannot be opened; None: none.
    """

    level: Level = Level.MEDIUM
    block_untested: bool = False
    unverifiable: Mapping[SubjectClass, Action] = field(default_factory=lambda: UNVERIFIABLE)
    mode: Mode = Mode.ENFORCE
    override_s: float | None = None
    unopened_s: float | None = None

    def blocks(self, risk: Risk) -> bool:
        """Return whether a listed subject of this risk is blocked."""
        return risk in BLOCKED[self.level]

    def decide(
        self, evidence: Evidence, cls: SubjectClass, *, paused: bool = False, elapsed_ms: float = 0.0
    ) -> Decision:
        """The decision about evidence for one class of use; `paused` and assessment enforce nothing."""
        action, reason = self._judge(evidence, cls)
        if action is Action.BLOCK and (paused or self.mode is Mode.ASSESS):
            unverified = evidence.unverifiable is not None and not evidence.blocked_by_rule
            return Decision(
                action=Action.FLAG if unverified else Action.ALLOW,
                evidence=evidence,
                elapsed_ms=elapsed_ms,
                would_block=True,
                reason=f"{reason}; not enforced: {'protection is paused' if paused else 'assessment mode'}",
            )
        return Decision(action=action, evidence=evidence, elapsed_ms=elapsed_ms, reason=reason)

    def _judge(self, evidence: Evidence, cls: SubjectClass) -> tuple[Action, str]:
        if evidence.allowed_by_rule:
            return Action.ALLOW, "allowed by a rule"
        if evidence.blocked_by_rule:
            return Action.BLOCK, "blocked by a rule"
        if evidence.unverifiable is not None:
            action = self.unverifiable.get(cls, UNVERIFIABLE[cls])
            return action, f"could not be verified: {evidence.unverifiable}"
        match evidence.verdict:
            case Verdict.MALICIOUS | Verdict.SUSPICIOUS:
                words = evidence.risk.value.replace("_", " ")
                why = (
                    f"found {words} by {evidence.list}"
                    if evidence.stage is Stage.SCAN
                    else f"listed as {words}"
                )
                if self.blocks(evidence.risk):
                    return Action.BLOCK, why
                return Action.ALLOW, f"{why}, which level {self.level} lets through"
            case Verdict.UNKNOWN:
                if self.block_untested:
                    return Action.BLOCK, "nothing is known about it, and untested subjects are blocked"
                return Action.ALLOW, "nothing bad is known about it"
            case Verdict.CLEAN:
                return Action.ALLOW, "known to be good"
            case other:
                assert_never(other)
