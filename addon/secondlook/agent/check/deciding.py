"""From evidence to a decision: the policy of the client, and whether protection is paused for it."""

from dataclasses import replace

from secondlook.agent.check.groups import pause_for
from secondlook.agent.check.view import Snapshot
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Action, Decision, Evidence, Stage, SubjectClass, Verdict


def decide(
    snapshot: Snapshot, context: RequestContext, evidence: Evidence, now: float, elapsed_ms: float
) -> Decision:
    """Decide about what a check found."""
    cls = SubjectClass.MALFORMED if evidence.stage is Stage.MALFORMED else context.cls
    policy = snapshot.policies.of(context.client, context.user)
    paused = _is_paused(snapshot, context, now)
    return policy.decide(evidence, cls, paused=paused, elapsed_ms=elapsed_ms)


def judge(
    snapshot: Snapshot, context: RequestContext, evidence: Evidence, now: float, unverifiable: Action | None
) -> Decision:
    """Decide about evidence from elsewhere; `unverifiable` takes the place of the policy's."""
    cls = context.cls
    policy = snapshot.policies.of(context.client, context.user)
    if unverifiable is not None:
        policy = replace(policy, unverifiable={**policy.unverifiable, cls: unverifiable})
    return policy.decide(evidence, cls, paused=_is_paused(snapshot, context, now))


def untested_passes(decision: Decision) -> Decision:
    """Let through what is blocked for nothing but being untested."""
    evidence = decision.evidence
    if evidence.verdict is not Verdict.UNKNOWN or evidence.unverifiable or evidence.blocked_by_rule:
        return decision
    if decision.action is not Action.BLOCK and not decision.would_block:
        return decision
    return replace(decision, action=Action.ALLOW, would_block=False, reason="nothing bad is known about it")


def _is_paused(snapshot: Snapshot, context: RequestContext, now: float) -> bool:
    return bool(snapshot.pauses) and (
        pause_for(snapshot.pauses, context.client, context.user, now) is not None
    )
