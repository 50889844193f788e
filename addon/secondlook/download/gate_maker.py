"""Which gate a body gets: by what its headers state, what its URL gave before, and which pieces it holds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from secondlook.config.traffic import DownloadsSettings
from secondlook.core.verdict import Decision
from secondlook.download.body.body_type import Declared, declared
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
from secondlook.download.examination.examination import Examiner
from secondlook.download.exchange import Body, Exchange
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.gate_state import Fate, GateLimits, Tap
from secondlook.download.gate.spool import SpoolRoom
from secondlook.download.judged_files import Blocks
from secondlook.ground.quickly import quickly_made

_IN_BLOCKS = frozenset({Fate.SNIFF, Fate.HOLD, Fate.TAIL})


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


@quickly_made
@dataclass(frozen=True, slots=True)
class Form:
    """Which pieces of a file a body holds: from the file's first byte on, several of them, several unasked.

    Whoever asked for several makes a file of what comes, asked for or not.
    """

    from_start: bool
    multipart: bool = False
    unasked: bool = False


def read_form(
    facts: ResponseFacts, status: int, piece: Piece | None, asked_range: str | None, *, partial: bool
) -> Form:
    """Return which pieces a body holds; `piece`, `partial`: as in `GateMaker.body`."""
    from_start = piece is None or piece.first == 0
    if status != PARTIAL_STATUS or not is_multipart(facts):
        return Form(from_start)
    asked = read_ranges(asked_range, None)
    if partial:
        return Form(begins_first(asked), multipart=True)
    return Form(from_start, unasked=isinstance(asked, SeveralRanges))


class GateMaker:
    """Makes the gates of bodies; `kinds` gives the digests besides SHA-256 that a list or rule names."""

    def __init__(
        self,
        settings: DownloadsSettings,
        room: SpoolRoom,
        examiner: Examiner | None,
        memory: EntityMemory,
        key: bytes,
        kinds: Callable[[], frozenset[str]],
    ) -> None:
        self._room = room
        self._examiner = examiner
        self._memory = memory
        self._key = key
        self._kinds = kinds
        self._whole_files = settings.ranges
        looks = examiner is not None and examiner.looks_into_archives
        self._limits = self._encoded_limits = GateLimits(
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
        if examiner is not None:
            self._encoded_limits = replace(self._limits, copy_up_to=examiner.copy_encoded_up_to)

    def _tap(self) -> Tap | None:
        return None if self._examiner is None else self._examiner.tap()

    def piece(
        self, state: Exchange, facts: ResponseFacts, length: int | None, *, asked: bool
    ) -> PartialAnswer:
        """Return what a 206 is: a piece (its origin was `asked` for one), or what a client takes for all."""
        piece = read_content_range(facts.content_range)
        total = piece.whole if piece is not None else None
        bad = self._memory.bad(state.subject.host, facts.etag, total)
        several = is_multipart(facts)
        wanted = state.wider or read_ranges(state.asked.range, state.asked.if_range)
        if several:
            answers = asked and isinstance(wanted, SeveralRanges)  # RFC 9110, 15.3.7.2
        else:
            answers = asked and isinstance(wanted, WantedRange) and is_answer(piece, wanted, length)
        claims = several or (piece is not None and not is_whole(piece, length))
        return PartialAnswer(piece, answers, claims and not answers, bad)

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
        stated = self._stated(state, facts, message.path)
        by_memory = False
        if (partial or state.wanted is not None) and self._memory.is_risky(state.subject.identity):
            by_memory = not stated.risky
            stated = replace(stated, risky=True)  # what it turned out to be before
        wanted = state.wanted
        if wanted is not None and not (stated.risky and wanted.holds(facts.etag, facts.modified)):
            wanted = None
        whole = message.status == WHOLE_STATUS
        window: tuple[int, int] | None = None
        if wanted is not None and length is not None and whole:
            window = next(iter(wanted.windows(length)), (0, 0))
        form = read_form(facts, message.status, piece, state.asked.range, partial=partial)
        if form.unasked or (form.multipart and facts.encoding is not None):
            stated = replace(stated, risky=True)  # whatever its parts are, this client makes a file of them
        gate = BodyGate(
            stated,
            length,
            facts.encoding if not partial or (form.from_start and not form.multipart) else None,
            self._encoded_limits if facts.encoding else self._limits,
            self._room,
            kinds=self._kinds(),
            must_hold=length is None and message.http10,  # its client takes it for whole where it is cut
            hold_if_room=wanted is not None,
            partial=partial,
            from_start=form.from_start,
            multipart=form.multipart,
            window=window,
            tap=self._tap,
        )
        context, dates = replace(state.context, content_type=facts.content_type), (facts.etag, facts.modified)
        unproved = form.unasked or needs_dictionary(facts.encoding)
        body = Body(gate, context, *dates, coding_of(facts), wanted, by_memory=by_memory, unproved=unproved)
        if partial and piece is not None:
            body.left = piece.last - piece.first + 1
        if whole and gate.fate in _IN_BLOCKS and self._whole_files:
            body.blocks = Blocks(self._key, length)
        return body

    @staticmethod
    def _stated(state: Exchange, facts: ResponseFacts, path: str) -> Declared:
        return declared(
            facts.content_type,
            facts.disposition,
            path,
            cls=state.context.cls,
            part=state.asked.is_of_page,
            browsed=state.asked.by_browser,
        )
