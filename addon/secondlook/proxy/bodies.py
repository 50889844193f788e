"""Response bodies: which gate each one gets, and what is decided about it at its end."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size

from secondlook.config import DownloadsSettings
from secondlook.core.subject import Use
from secondlook.core.verdict import Action, Decision, SubjectClass
from secondlook.proxy.bodytype import declared
from secondlook.proxy.gate import BodyGate, GateLimits
from secondlook.proxy.ports import Gatekeeper
from secondlook.proxy.spool import Spool, SpoolRoom

logger = logging.getLogger(__name__)

NO_BODY_STATUSES = frozenset({101, 204, 205, 304})


@dataclass(frozen=True, slots=True)
class Inside:
    """What was found inside an archive: labelled digests, and why it could not be looked through."""

    members: tuple[tuple[str, bytes], ...] = ()
    problem: str | None = None


class Inspector(Protocol):
    """Looks inside archives."""

    def wants(self, gate: BodyGate) -> bool:
        """Tell whether a body is an archive to be looked into."""
        ...

    def inspect(self, spool: Spool, gate: BodyGate) -> Awaitable[Inside]:
        """Look inside; never raises, bounded in time, memory and number."""
        ...


@dataclass(slots=True)
class Body:
    """A gated body and what was decided about it."""

    gate: BodyGate
    use: Use
    decision: Decision | None = None
    failed: str | None = None  # the gate broke: what is said about it
    pumped: bytes = b""
    stalled: Callable[[], bool] = bool  # whether the client leaves too much of it unread; bool() is False


class Bodies:
    """Makes gates and judges what went through them."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        settings: DownloadsSettings,
        room: SpoolRoom,
        inspector: Inspector | None,
    ) -> None:
        self.gatekeeper = gatekeeper
        self.room = room
        self._inspector = inspector
        self._limits = GateLimits(
            hold_up_to=settings.hold_up_to,
            hold_full=settings.hold == "full",
            tail_min=settings.tail_min,
            tail_part=settings.tail_part,
            local_up_to=settings.local_up_to,
            sniff=settings.sniff,
            ratio=settings.decoded_ratio,
            layers=settings.decoded_layers,
        )

    def gate(self, flow: http.HTTPFlow, use: Use) -> Body | None:
        """Choose the gate of a response; None where there is no body."""
        request, response = flow.request, flow.response
        assert response is not None
        if request.method == "HEAD" or response.status_code in NO_BODY_STATUSES:
            return None
        content_type = disposition = encoding = None
        chunked = sized = False
        for raw_name, value in response.data.headers.fields:
            name = raw_name.lower()
            if name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"content-disposition":
                disposition = value.decode("latin-1")
            elif name == b"content-encoding":
                text = value.decode("latin-1")
                encoding = text if encoding is None else f"{encoding}, {text}"
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"content-length":
                sized = True
        length = self._length(flow, sized=sized, chunked=chunked)
        if length == 0:
            return None
        path = request.data.path.decode("latin-1")
        gate = BodyGate(
            declared(content_type, disposition, path),
            length,
            encoding,
            self._limits,
            self.room,
            kinds=self.gatekeeper.digest_kinds(),
            hold_whole=length is None and request.http_version == "HTTP/1.0",
        )
        return Body(gate, replace(use, content_type=content_type))

    def judge_now(self, body: Body) -> Decision | None:
        """Decide about a whole body without waiting; None where something must be awaited."""
        gate = body.gate
        if body.failed is not None or (gate.risky and gate.problem is not None):
            return None
        if gate.risky:
            if self._inspector is not None and self._inspector.wants(gate):
                return None
            body.use = replace(body.use, cls=SubjectClass.DOWNLOAD)
            body.decision = self.gatekeeper.now(gate.subject(), body.use)
        else:
            body.decision = self.gatekeeper.local(gate.subject(), body.use)
        return body.decision

    async def judge(self, body: Body) -> Decision:
        """Decide about a whole body, asking and waiting where needed; may raise."""
        gate = body.gate
        if gate.risky:
            body.use = replace(body.use, cls=SubjectClass.DOWNLOAD)
        if body.failed is not None:
            body.decision = await self.gatekeeper.unverifiable(gate.subject(), body.use, body.failed)
            return body.decision
        if not gate.risky:
            body.decision = await self.gatekeeper.check_local(gate.subject(), body.use)
            return body.decision
        inside = Inside()
        if self._inspector is not None and self._inspector.wants(gate) and gate.spool is not None:
            inside = await self._inspector.inspect(gate.spool, gate)
        subject = gate.subject(inside.members)
        decision = await self.gatekeeper.check(subject, body.use)
        problem = inside.problem or gate.problem
        if problem is not None and decision.action is Action.ALLOW and not decision.evidence.allowed_by_rule:
            decision = await self.gatekeeper.unverifiable(subject, body.use, problem)
        body.decision = decision
        return decision

    @staticmethod
    def _length(flow: http.HTTPFlow, *, sized: bool, chunked: bool) -> int | None:
        response = flow.response
        assert response is not None
        if chunked:
            return None
        if sized:
            try:
                size = expected_http_body_size(flow.request, response)
            except ValueError:
                return None
            return size if size is not None and size >= 0 else None
        if flow.request.http_version == "HTTP/1.1":
            # a body that ends with its connection (or an HTTP/2 one without a length) would look whole when
            # it is cut: towards an HTTP/1.1 client it goes in chunks
            response.headers["transfer-encoding"] = "chunked"
            if not response.is_http2:
                response.http_version = "HTTP/1.1"
        return None
