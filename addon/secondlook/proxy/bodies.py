"""Response bodies of mitmproxy's flows: which gate each one gets, and which pieces are asked for."""

from collections.abc import Awaitable

from mitmproxy import http

from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.config.traffic import DownloadsSettings
from secondlook.download.body.ranges import Piece, WantedRange
from secondlook.download.body.response_facts import (
    PARTIAL_STATUS,
    WHOLE_STATUS,
    ResponseFacts,
    has_body,
    read_response,
)
from secondlook.download.body.slicing import Slice
from secondlook.download.examination.examination import Examiner
from secondlook.download.exchange import Body
from secondlook.download.gate.spool import SpoolRoom
from secondlook.download.gate_maker import Message
from secondlook.download.judged_files import JudgedFiles
from secondlook.download.judging import BodyJudge
from secondlook.download.pieces import look_at_kept
from secondlook.proxy.flow_state import FlowState
from secondlook.proxy.pieces import Patience, Pieces
from secondlook.proxy.response import body_length, make_partial


class Bodies(BodyJudge):
    """Makes gates for flows, and judges what went through them."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        settings: DownloadsSettings,
        room: SpoolRoom,
        examiner: Examiner | None,
        judged: JudgedFiles,
    ) -> None:
        super().__init__(gatekeeper, settings, room, examiner, judged)
        patience_s = settings.patience if settings.hold != "full" else 0.0
        self.pieces = Pieces(
            gatekeeper,
            self.memory,
            judged,
            self.unfinished,
            Patience(patience_s, settings.tail_min),
            enabled=settings.ranges,
        )

    def receive(self, flow: http.HTTPFlow, state: FlowState) -> Awaitable[None] | None:
        """Choose the gate of a response; the result is awaited where something must be settled first."""
        response = flow.response
        assert response is not None
        if not has_body(flow.request.method, response.status_code):
            status = response.status_code
            return look_at_kept(status, state, self.gatekeeper, self.memory, self.judged)
        facts = read_response(response.data.headers.fields)
        length = body_length(flow, facts)
        if self.pieces.receive(response, state, facts, length):
            return None
        if response.status_code == PARTIAL_STATUS:
            return self._receive_piece(flow, state, facts, length)
        if length != 0:
            state.body = self.gates.body(state, facts, length, _message(flow))
        return None

    def _receive_piece(
        self, flow: http.HTTPFlow, state: FlowState, facts: ResponseFacts, length: int | None
    ) -> Awaitable[None] | None:
        """Choose the gate of a 206: a piece that was asked for, or what its client will take for all."""
        response = flow.response
        assert response is not None
        asked = flow.request.method == "GET" and "range" in flow.request.headers
        given = self.gates.piece(state, facts, length, asked=asked)
        if given.bad is not None:
            return self.refuse_again(state, given.bad)
        if not asked and not given.claims and state.asked.range is not None:
            response.status_code, response.reason = WHOLE_STATUS, "OK"  # all of it, as it was asked for
            response.headers.pop("content-range", None)
        state.body = self.gates.body(
            state, facts, length, _message(flow), piece=given.piece, partial=given.answers
        )
        state.body.again = given.answers and self.whole_files
        state.body.claims = given.claims
        wider = state.wider is not None and isinstance(state.wanted, WantedRange)
        if asked and wider and given.piece is not None:
            assert isinstance(state.wanted, WantedRange)
            self._cut_back(response, state.body, state.wanted, given.piece)
        return None

    @staticmethod
    def _cut_back(response: http.Response, body: Body, wanted: WantedRange, piece: Piece) -> None:
        """Return what its client wanted of a piece that was widened; at its end, where it is all there is."""
        part = wanted.within(piece.last + 1)
        if not body.gate.partial or part is None:
            if not body.claims:
                body.wanted = wanted
                response.status_code, response.reason = WHOLE_STATUS, "OK"
                response.headers.pop("content-range", None)
            return
        body.slice = Slice([part], piece.whole)
        make_partial(response, body.slice)


def _message(flow: http.HTTPFlow) -> Message:
    assert flow.response is not None
    return Message(
        flow.request.data.path.decode("latin-1"),
        flow.response.status_code,
        http10=flow.request.http_version == "HTTP/1.0",
    )
