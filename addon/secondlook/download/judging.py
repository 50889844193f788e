"""Response bodies, whichever front they come by: what is noted while one comes, and decided at its end."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Self

from secondlook.agent import metrics
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.config.agent import Settings
from secondlook.config.traffic import DownloadsSettings
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, SubjectClass, Verdict
from secondlook.download.body.ranges import (
    EntityMemory,
)
from secondlook.download.examination.examination import Examined, Examiner
from secondlook.download.exchange import Body, Exchange, release_lead
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate.spool import SpoolRoom
from secondlook.download.gate_maker import GateMaker
from secondlook.download.judged_files import JudgedFile, JudgedFiles
from secondlook.download.unfinished import Unfinished

logger = logging.getLogger(__name__)

PARTIAL = "partial: a piece of a file that nobody here has seen whole"
_DECODERS = 2  # threads, for bodies of which much is to be decoded
PASSED = Decision(
    Action.ALLOW, Evidence(verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED, stage=Stage.UNVERIFIABLE)
)


class BodyJudge:
    """Judges what went through the gates that it makes (`gates`)."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        settings: DownloadsSettings,
        room: SpoolRoom,
        examiner: Examiner | None,
        judged: JudgedFiles,
    ) -> None:
        self.gatekeeper = gatekeeper
        self.room = room
        self.memory = EntityMemory()
        self.judged = judged
        self.unfinished = Unfinished(judged)
        self._examiner = examiner
        self._decoding = ThreadPoolExecutor(_DECODERS, "decoding")
        self.patience_s = settings.patience
        self.whole_files = settings.ranges
        self._block_partial = settings.partial == "block"
        self.gates = GateMaker(settings, room, examiner, self.memory, judged.key, gatekeeper.digest_kinds)

    @classmethod
    def of_process(
        cls, settings: Settings, gatekeeper: Gatekeeper, key: bytes, on_clamd: Callable[[str | None], None]
    ) -> Self:
        """Make that of a process, with its spool and what looks into files, from all settings.

        `key` is the installation's, for what is known of judged files; `on_clamd` is called when clamd went
        away (why), or answers again (None).
        """
        downloads, state = settings.downloads, settings.state
        room = SpoolRoom(
            state / "spool", downloads.spool_max // settings.judging_count, downloads.spool_memory
        )
        examiner = Examiner(
            downloads.archives,
            settings.looking,
            state,
            on_clamd=on_clamd,
            decoded_ratio=downloads.decoded_ratio,
        )
        judged = JudgedFiles(state / "judged", key, room.thread)
        return cls(gatekeeper, downloads, room, examiner, judged)

    async def catch_up(self, body: Body) -> None:
        """Wait until what came of a body is decoded, looked into and on the disk.

        Each body takes its turn after some megabytes. What cannot be decoded is left in `body.failed`.
        """
        loop, gate = asyncio.get_running_loop(), body.gate
        try:
            while gate.look.behind:
                await loop.run_in_executor(self._decoding, gate.look.work)
        except Exception as error:  # noqa: BLE001 - the boundary
            fail(body, error, "a body could not be decoded")
        await gate.settle()

    async def in_force(self) -> None:
        """Let the refusal of a bad download be in force in every worker before its client can ask again."""
        try:
            await self.gatekeeper.in_force()
        except Exception:
            logger.exception("it is not known whether a refusal is in force everywhere")
            metrics.INTERNAL_ERRORS.inc()

    async def aclose(self) -> None:
        """End what looks into files, and the spool's thread."""
        if self._examiner is not None:
            await self._examiner.aclose()
        self._decoding.shutdown(wait=False, cancel_futures=True)
        self.room.close()

    def note(self, body: Body, state: Exchange, data: bytes) -> None:
        """Note what other pieces of a file need to know while this one is under way, and after it."""
        gate = body.gate
        if body.blocks is not None:
            if gate.fate is Fate.PASS:
                body.blocks = None
            else:
                body.blocks.feed(data)
        if state.lead is not None and gate.fate not in {Fate.SNIFF, Fate.HOLD}:
            release_lead(state)  # it comes no faster than its client reads
        if gate.look.risky and not body.noted and not gate.look.unshown:
            body.noted = True
            self.memory.note_risky(state.subject.identity)
            if self.whole_files:
                self.unfinished.note(state.subject.identity)
        if (
            gate.look.risky
            and (gate.fate is Fate.TAIL or gate.trickles.given)
            and not body.unfinished
            and self.whole_files
        ):
            body.unfinished = True
            self.unfinished.begin(state.context, state.asked)

    def end(self, body: Body, state: Exchange, *, whole: bool) -> Decision | None:
        """Decide about a body of which nothing more comes; None where something must be awaited."""
        try:
            body.gate.end(whole=whole)
            return self.judge_now(body, state)
        except Exception as error:  # noqa: BLE001 - the boundary
            fail(body, error, "a body could not be judged")
            return None

    def judge_now(self, body: Body, state: Exchange) -> Decision | None:
        """Decide about a whole body without waiting; None where something must be awaited."""
        gate = body.gate
        if gate.partial:
            return PASSED
        if gate.look.risky:
            body.context = replace(body.context, cls=SubjectClass.DOWNLOAD)
        if body.failed is not None:
            return None
        if not gate.look.risky:
            body.decision = self.gatekeeper.local(
                gate.look.subject(), body.context, late=gate.fate is Fate.PASS
            )
            return body.decision
        if gate.problem is not None or body.claims:
            return None
        scan = None
        if self._examiner is not None:
            if self._examiner.is_archive(gate):
                return None
            scan = self._examiner.scan(gate, body.context.client)
        body.decision = self.gatekeeper.now(gate.look.subject(), body.context, scan=scan)
        self._remember(body, state)
        return body.decision

    async def judge(self, body: Body, state: Exchange) -> None:
        """Decide about a body, asking and waiting where needed.

        Whatever fails inside, what is risky stays blocked: it has no decision then.
        """
        try:
            await self._judge(body, state)
        except Exception as error:
            logger.exception("a body could not be judged")
            metrics.INTERNAL_ERRORS.inc()
            await self._fault(body, f"internal error: {error!r}")

    async def _fault(self, body: Body, reason: str) -> None:
        try:
            body.decision = await self.gatekeeper.unverifiable(body.gate.look.subject(), body.context, reason)
        except Exception:
            logger.exception("the policy for unverifiable bodies failed too")
            body.decision = None if body.gate.look.risky else PASSED

    async def _judge(self, body: Body, state: Exchange) -> None:
        gate = body.gate
        if gate.unsettled:
            whole = gate.fate is Fate.REFUSE
            context = replace(body.context, cls=SubjectClass.DOWNLOAD)
            reason = gate.problem if whole and gate.problem is not None else PARTIAL
            block = True if whole or self._block_partial or body.unproved else None
            body.decision = await self.gatekeeper.unverifiable(state.subject, context, reason, block=block)
        elif body.failed is not None:
            body.decision = await self.gatekeeper.unverifiable(gate.look.subject(), body.context, body.failed)
        elif not gate.look.risky:
            body.decision = await self.gatekeeper.check_local(gate.look.subject(), body.context)
        else:
            body.decision = await self._judge_risky(body)
            self._remember(body, state)

    async def _judge_risky(self, body: Body) -> Decision:
        if self._examiner is not None:
            examined = await self._examiner.examine(body.gate, body.context.client)
        else:
            examined = Examined(body.gate.look.subject(), None, body.gate.problem)
        subject, scan = examined.subject, examined.scan
        body.members, body.problem = examined.members, examined.problem
        if body.claims or examined.problem is not None:
            block = True if body.unproved or (body.claims and self._block_partial) else None
            why = examined.problem or PARTIAL
            return await self.gatekeeper.unsure(subject, body.context, why, block=block, scan=scan)
        return await self.gatekeeper.check(subject, body.context, scan=scan)

    async def refuse_again(self, state: Exchange, decision: Decision) -> None:
        """Refuse a piece of what was judged bad; the decision is in the state."""
        context = replace(state.context, cls=SubjectClass.DOWNLOAD)
        state.refusal = await self.gatekeeper.settle(state.subject, context, replace(decision, event_id=None))

    def _remember(self, body: Body, state: Exchange) -> None:
        """Note what came of a whole risky file, for pieces of it that are asked for later."""
        decision, gate = body.decision, body.gate
        if decision is None:
            return
        if body.unfinished and gate.whole and decision.action is not Action.BLOCK:
            self.unfinished.end(state.context, state.asked)
        if body.by_memory and gate.harmless and decision.action is Action.ALLOW:
            self.memory.forget_risky(state.subject.identity)
            self.unfinished.forget(state.subject.identity)
            self._keep(body, state)  # for who has a part of a risky file and wants pieces of this
            return
        if decision.action is Action.BLOCK:
            self.memory.note_risky(state.subject.identity)
            self.memory.note_bad(state.subject.host, body.etag, gate.look.size, decision)
        elif not gate.look.unshown:
            self.memory.note_risky(state.subject.identity)
            self._keep(body, state)

    def _keep(self, body: Body, state: Exchange) -> None:
        """Let its pieces be known by what was judged; who waits for that goes on then."""
        gate, blocks = body.gate, body.blocks
        tags = blocks.end() if blocks is not None and gate.whole and not body.claims else None
        if blocks is None or tags is None:
            return
        lead, state.lead = state.lead, None
        subject = gate.look.subject(body.members)
        judged = JudgedFile(gate.look.size, blocks.block, tags, subject, body.problem, body.coding)
        self.judged.keep(state.subject.identity, judged, lead)


def fail(body: Body, error: Exception, what: str) -> None:
    """Note that something broke inside while a body came: what can hurt is cut then."""
    logger.error(what, exc_info=error)
    metrics.INTERNAL_ERRORS.inc()
    body.failed = f"internal error: {error!r}"
