"""What a front of a gateway judges by, and what becomes of one request.

`run/gate.py` puts real parts in. A front (helper lines, ICAP) reads a `GatewayRequest` and asks `Gate`.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace

from secondlook.agent import metrics
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.core.event import Event
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, Verdict
from secondlook.download.judging import BodyJudge
from secondlook.gateway.request import GatewayRequest
from secondlook.refusal.refusal import FAULT, Refusals, is_internal
from secondlook.site.internal_site import InternalSite

logger = logging.getLogger(__name__)


OWN = Decision(
    Action.ALLOW, Evidence(verdict=Verdict.CLEAN, risk=Risk.SAFE, stage=Stage.ACCESS, detail="our own pages")
)
"""About `secondlook.internal`, whose pages ICAP answers: there is nothing to decide and nothing to record."""


@dataclass(eq=False)
class Gate:
    """Decides about requests and refuses them; every decision is settled (recorded) when it is returned.

    `name` is that of the gateway on this machine, in log and statistics.
    """

    gatekeeper: Gatekeeper
    refusals: Refusals
    bodies: BodyJudge
    record: Callable[[Event], None]  # writes an event, some time soon
    site: InternalSite | None = None
    _: KW_ONLY
    name: str

    def __post_init__(self) -> None:
        self._tag: tuple[int, str] = (0, "")

    def now(self, request: GatewayRequest) -> Decision | None:
        """Decide from what is in memory; None: `decide` must be awaited. Never raises."""
        try:
            if is_internal(request.host):
                return OWN
            decision: Decision | None = None
            for subject in request.subjects(self.gatekeeper.subject):
                decision = self.gatekeeper.now(subject, request.context)
                if decision is None or decision.action is Action.BLOCK:
                    return decision
        except Exception:
            logger.exception("a request could not be checked")
            metrics.INTERNAL_ERRORS.inc()
            return None
        else:
            return decision

    async def decide(self, request: GatewayRequest, *, refused_by: str | None = None) -> Decision:
        """Decide about a request; a flag is committed before this returns. Never raises.

        `refused_by` is the event by which it was refused before, by a helper line for the same request: still
        refused, it is not recorded a second time.
        """
        try:
            if is_internal(request.host):
                return OWN
            decision = FAULT
            for subject in request.subjects(self.gatekeeper.subject):
                if refused_by is not None:
                    checked = await self.gatekeeper.checker.check(subject, request.context)
                    if checked.action is Action.BLOCK:
                        return replace(checked, event_id=refused_by)
                decision = await self.gatekeeper.check(subject, request.context)
                if decision.action is Action.BLOCK:
                    return decision
        except Exception:
            logger.exception("a request could not be checked")
            metrics.INTERNAL_ERRORS.inc()
            return await self.fault(request)
        else:
            return decision

    async def fault(self, request: GatewayRequest) -> Decision:
        """Treat a request whose check failed inside as unverifiable. Never raises."""
        try:
            subject = self.gatekeeper.subject(request.scheme, request.host, request.path)
            return await self.gatekeeper.unverifiable(subject, request.context, "internal error")
        except Exception:
            logger.exception("the policy for unverifiable requests failed too; refusing")
            return FAULT

    def tag(self) -> str:
        """Return what differs whenever what is answered from does (`ISTag`); all processes say the same."""
        view = self.gatekeeper.checker.view.current
        if view.serial != self._tag[0]:
            source = repr((view.pattern.generation, view.rulebook.rules, view.pauses, view.policies.common))
            self._tag = (view.serial, hashlib.sha256(source.encode()).hexdigest()[:32])
        return self._tag[1]
