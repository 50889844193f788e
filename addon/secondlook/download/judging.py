"""Response bodies, whichever front they come by: which gate each one gets, and what is decided at its end."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self

from secondlook.agent import metrics
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.config.agent import Settings
from secondlook.config.traffic import DownloadsSettings
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, SubjectClass, Verdict
from secondlook.download.body.body_type import declared
from secondlook.download.body.decoding import needs_dictionary
from secondlook.download.body.ranges import (
    EntityMemory,
    Piece,
    SeveralRanges,
    WantedRange,
    begins_first,
    is_answer,
    is_whole,
    read_content_range,
    read_ranges,
)
from secondlook.download.body.response_facts import (
    PARTIAL_STATUS,
    WHOLE_STATUS,
    ResponseFacts,
    coding_of,
    is_multipart,
)
from secondlook.download.examination.examination import Examined, Examiner
from secondlook.download.exchange import Body, Exchange, release_lead
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.gate_state import Fate, GateLimits, Tap
from secondlook.download.gate.spool import SpoolRoom
from secondlook.download.judged_files import Blocks, JudgedFile, JudgedFiles
from secondlook.download.unfinished import Unfinished
from secondlook.ground.quickly import quickly_made

logger = logging.getLogger(__name__)

PARTIAL = "partial: a piece of a file that nobody here has seen whole"
_DECODERS = 2  # threads, for bodies of which much is to be decoded
_IN_BLOCKS = frozenset({Fate.SNIFF, Fate.HOLD, Fate.TAIL})
PASSED = Decision(
    Action.ALLOW, Evidence(verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED, stage=Stage.UNVERIFIABLE)
)


@quickly_made
@dataclass(frozen=True, slots=True)
class Message:
    """What of a request and its response decides about a gate, besides their headers.

    `http10`: the client speaks HTTP/1.0, and takes a body without a length that is cut for a whole one.
    """

    path: str
    status: int
    http10: bool = False


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """What a 206 is: `answers` what was asked for, else `claims` to be one; `bad`: of what was judged so."""

    piece: Piece | None
    answers: bool
    claims: bool
    bad: Decision | None


class BodyJudge:
    """Makes gates and judges what went through them."""

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
        looks = examiner is not None and examiner.looks_into_archives
        self._decoding = ThreadPoolExecutor(_DECODERS, "decoding")
        self.patience_s = settings.patience
        self.whole_files = settings.ranges
        self._block_partial = settings.partial == "block"
        self._limits = GateLimits(
            hold_up_to=settings.hold_up_to,
            hold_full=settings.hold == "full",
            tail_min=settings.tail_min,
            tail_part=settings.tail_part,
            local_up_to=settings.local_up_to,
            sniff=settings.sniff,
            ratio=settings.decoded_ratio,
            layers=settings.decoded_layers,
            look_up_to=settings.archives.max_bytes if looks else 0,
            copy_up_to=examiner.copy_up_to if examiner is not None else 0,
        )
        self._encoded_limits = self._limits
        if examiner is not None:
            self._encoded_limits = replace(self._limits, copy_up_to=examiner.copy_encoded_up_to)

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

    def _tap(self) -> Tap | None:
        return None if self._examiner is None else self._examiner.tap()

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

    def piece(
        self, state: Exchange, facts: ResponseFacts, length: int | None, *, asked: bool
    ) -> PartialAnswer:
        """Return what a 206 is: a piece (its origin was `asked` for one), or what a client takes for all."""
        piece = read_content_range(facts.content_range)
        total = piece.whole if piece is not None else None
        bad = self.memory.bad(state.subject.host, facts.etag, total)
        several = is_multipart(facts)
        wanted = state.wider or read_ranges(state.asked.range, state.asked.if_range)
        if several:
            answers = asked and isinstance(wanted, SeveralRanges)  # RFC 9110, 15.3.7.2
        else:
            answers = asked and isinstance(wanted, WantedRange) and is_answer(piece, wanted, length)
        claims = several or (piece is not None and not is_whole(piece, length))
        return PartialAnswer(piece, answers, claims and not answers, bad)

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

    def body(
        self,
        state: Exchange,
        facts: ResponseFacts,
        length: int | None,
        message: Message,
        *,
        piece: Piece | None = None,
        partial: bool = False,
    ) -> Body:
        """Give a body its gate; `piece`: what it claims to be of a file, `partial`: it goes by that."""
        context = state.context
        stated = declared(
            facts.content_type,
            facts.disposition,
            message.path,
            cls=context.cls,
            part=state.asked.is_of_page,
            browsed=state.asked.by_browser,
        )
        by_memory = False
        if (partial or state.wanted is not None) and self.memory.is_risky(state.subject.identity):
            by_memory = not stated.risky
            stated = replace(stated, risky=True)  # what it turned out to be before
        wanted = state.wanted
        if wanted is not None and not (stated.risky and wanted.holds(facts.etag, facts.modified)):
            wanted = None
        several = message.status == PARTIAL_STATUS and is_multipart(facts)
        multipart = several and partial
        asked = read_ranges(state.asked.range, None)
        unasked = several and not partial and isinstance(asked, SeveralRanges)
        decodes = multipart and facts.encoding is not None  # what its client reads the parts of
        if unasked or decodes:  # whatever its parts are, this client makes a file of them
            stated = replace(stated, risky=True)
        from_start = (piece is None or piece.first == 0) if not multipart else begins_first(asked)
        window: tuple[int, int] | None = None
        if wanted is not None and length is not None and message.status == WHOLE_STATUS:
            window = next(iter(wanted.windows(length)), (0, 0))
        gate = BodyGate(
            stated,
            length,
            facts.encoding if not partial or (from_start and not multipart) else None,
            self._encoded_limits if facts.encoding else self._limits,
            self.room,
            kinds=self.gatekeeper.digest_kinds(),
            # such a client takes a body that is cut for a whole one
            must_hold=length is None and message.http10,
            hold_if_room=wanted is not None,
            partial=partial,
            from_start=from_start,
            multipart=multipart,
            window=window,
            tap=self._tap,
        )
        context, dates = replace(context, content_type=facts.content_type), (facts.etag, facts.modified)
        unproved = unasked or needs_dictionary(facts.encoding)
        body = Body(gate, context, *dates, coding_of(facts), wanted, by_memory=by_memory, unproved=unproved)
        if partial and piece is not None:
            body.left = piece.last - piece.first + 1
        if message.status == WHOLE_STATUS and gate.fate in _IN_BLOCKS and self.whole_files:
            body.blocks = Blocks(self.judged.key, length)
        return body

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
