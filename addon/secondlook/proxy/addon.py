"""The first boundary: mitmproxy's hooks. Every request is decided here, in `requestheaders`.

An exception in a hook would be logged by mitmproxy and the request would go upstream: a bug would mean open
doors. So every hook that decides catches everything and treats its subject as unverifiable, which the
policy of its class turns into a flag or a block; where even that fails, the answer is a block.
"""

import logging
import time
from collections.abc import Awaitable, Callable

from mitmproxy import http
from mitmproxy.proxy import mode_specs

from secondlook.agent import metrics
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.core.display import shown_host
from secondlook.core.event import Event
from secondlook.core.subject import RequestContext, UrlSubject
from secondlook.core.url.address import with_port
from secondlook.core.verdict import Action, Decision, SubjectClass
from secondlook.download.pieces import misfit
from secondlook.download.request_facts import DICTIONARY, RequestFacts, read_request_facts
from secondlook.ground.ulid import Identifiers
from secondlook.proxy.access.access import Access, closed_reason
from secondlook.proxy.access.login import USER
from secondlook.proxy.bodies import Bodies
from secondlook.proxy.fallback import Fallback
from secondlook.proxy.flow_state import FLOW_STATE, FlowState, state_of
from secondlook.proxy.held_bodies import HeldBodies
from secondlook.proxy.mitm import unreachable
from secondlook.proxy.mitm.http.head import add_via, came_round
from secondlook.proxy.mitm.streams.stream import ORIGIN_FORM
from secondlook.proxy.own_site import OwnSite
from secondlook.proxy.request import begun_elsewhere, make_context, peer_text, subjects
from secondlook.proxy.response import plain_answer
from secondlook.refusal.language import phrase
from secondlook.refusal.refusal import FAULT, STATUS, Refusals, is_internal, passed_fields
from secondlook.refusal.wording import IN_A_CIRCLE
from secondlook.site.internal_site import FORM_MAX_BYTES, Visitor

logger = logging.getLogger(__name__)

_MISDIRECTED = 421  # RFC 9110, 15.5.20


class SecondLookAddon(HeldBodies):
    """Decides about requests, chooses the gates of bodies; `connections.py` decides about connections."""

    name = "secondlook"

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        access: Access,
        refusals: Refusals,
        site: OwnSite,
        bodies: Bodies,
        limits: TrafficLimitsSettings,
        via: str | None = None,
    ) -> None:
        super().__init__(gatekeeper, bodies)
        self.limits = limits
        self._via = via
        self.access = access
        self.refusals = refusals
        self.site = site
        self.problem = site.problem
        self._fallback = Fallback(time.monotonic)
        # both are set by `build_addons`, to those of parts that need this one first
        self.failure_of: Callable[[http.HTTPFlow, str], str | None] = lambda *_: None
        self.record: Callable[[Event], None] = lambda _: None
        self._new_id = Identifiers().new

    # ---- requests

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Decide about a request before its body is read and before any origin is contacted."""
        if flow.response is not None or flow.error is not None:
            return None
        try:
            return self._request(flow)
        except Exception:
            logger.exception("a request could not be checked")
            metrics.INTERNAL_ERRORS.inc()
            return self._fault(flow)

    def _request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        request = flow.request
        if self.is_own_site(flow):
            return self._own_site(flow)
        asked = read_request_facts(request.data.headers.fields)
        client = peer_text(flow.client_conn.peername)
        context = make_context(request, asked, client, flow.metadata.get(USER))
        targets = subjects(request, asked, self.gatekeeper, flow.client_conn.sni)
        state = FlowState(targets[0], context, asked)
        closed = self.access.closed(client, request.host, request.port)
        if closed is not None and not self.access.is_trusted(request.host, request.port):
            return self._close(flow, state, closed)
        if self._via is not None and came_round(request, self._via):
            return self._close(flow, state, IN_A_CIRCLE)
        for index, subject in enumerate(targets):
            decision = self.gatekeeper.now(subject, context)
            if decision is None:
                return self._ask(flow, state, targets[index:])
            if decision.action is Action.BLOCK:
                self._block(flow, state, decision)
                return None
        return self._let_through(flow, state)

    async def _ask(self, flow: http.HTTPFlow, state: FlowState, targets: tuple[UrlSubject, ...]) -> None:
        try:
            for subject in targets:
                decision = await self.gatekeeper.check(subject, state.context)
                if decision.action is Action.BLOCK:
                    self._block(flow, state, decision)
                    return
            if (choosing := self._let_through(flow, state)) is not None:
                await choosing
        except Exception:
            logger.exception("a request could not be checked")
            metrics.INTERNAL_ERRORS.inc()
            await self._fault(flow)

    async def _close(self, flow: http.HTTPFlow, state: FlowState, reason: str) -> None:
        try:
            decision = await self.gatekeeper.refuse(state.subject, state.context, reason)
        except Exception:
            logger.exception("a refusal could not be recorded")
            decision = FAULT
        self._block(flow, state, decision)

    def _let_through(self, flow: http.HTTPFlow, state: FlowState) -> Awaitable[None] | None:
        flow.metadata[FLOW_STATE] = state
        if self._via is not None:
            add_via(flow.request, self._via)
        if state.asked.dictionary is not None:
            del flow.request.headers[DICTIONARY]
        flow.request.stream = True
        choosing = self.bodies.pieces.ask(flow, state)
        return None if choosing is None else self._choose(flow, state, choosing)

    async def _choose(self, flow: http.HTTPFlow, state: FlowState, choosing: Awaitable[None]) -> None:
        """Wait for what a file that is wanted in pieces is to be asked for, or that it may not be."""
        try:
            await choosing
        except Exception:
            logger.exception("it is not known what a piece is a piece of")
            metrics.INTERNAL_ERRORS.inc()
            state.refusal = FAULT
        if state.refusal is not None:
            self._block(flow, state, state.refusal)

    def _block(self, flow: http.HTTPFlow, state: FlowState, decision: Decision) -> None:
        if flow.request.is_http2 and begun_elsewhere(flow.request, flow.client_conn.sni):
            # the other name may be all that is bad: a browser asks again, over a connection of its own
            flow.response = plain_answer(_MISDIRECTED, "this connection is another host's")
            return
        flow.response = self._refusal(flow, state.asked, state.context, decision)

    def _refusal(
        self, flow: http.HTTPFlow, asked: RequestFacts, context: RequestContext, decision: Decision
    ) -> http.Response:
        refusal = self.refusals.make(flow.request.path, asked, decision, context)
        return http.Response.make(STATUS, refusal.body, http.Headers(refusal.headers))

    async def _fault(self, flow: http.HTTPFlow) -> None:
        """Treat a request whose check failed inside as unverifiable."""
        asked, decision = RequestFacts(), FAULT
        context = RequestContext(cls=SubjectClass.PAGE)
        try:
            asked = read_request_facts(flow.request.data.headers.fields)
            context = make_context(
                flow.request, asked, peer_text(flow.client_conn.peername), flow.metadata.get(USER)
            )
            subject = self.gatekeeper.subject(flow.request.scheme, flow.request.host, flow.request.data.path)
            decision = await self.gatekeeper.unverifiable(subject, context, "internal error")
            if decision.action is not Action.BLOCK:
                if (choosing := self._let_through(flow, FlowState(subject, context, asked))) is not None:
                    await choosing
                return
        except Exception:
            logger.exception("the policy for unverifiable requests failed too; refusing")
        flow.response = self._refusal(flow, asked, context, decision)

    # ---- the proxy's own site

    def is_own_site(self, flow: http.HTTPFlow) -> bool:
        """Return whether a request is for the internal site."""
        request = flow.request
        host = request.host.lower()
        if is_internal(host):
            return True
        client = flow.client_conn
        if request.port != client.sockname[1] or client.tls:
            return False
        if not isinstance(client.proxy_mode, mode_specs.RegularMode | mode_specs.UpstreamMode):
            return False
        return bool(flow.metadata.get(ORIGIN_FORM)) or host in {
            client.sockname[0].partition("%")[0].removeprefix("::ffff:"),
            "localhost",
            "127.0.0.1",
            "::1",
        }

    def _own_site(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        if flow.request.method == "POST":
            length = flow.request.headers.get("content-length", "")
            if length.isascii() and length.isdigit() and int(length) <= FORM_MAX_BYTES:
                return None  # its small body is read first: `request` answers
            flow.response = self.site.problem(flow.request, 413, phrase("expected a small form"))
            return None
        return self._answer_own_site(flow, b"")

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Answer a form of the own site, once its body is here."""
        if flow.response is not None or flow.request.stream or not self.is_own_site(flow):
            return None
        return self._answer_own_site(flow, (flow.request.raw_content or b"")[:FORM_MAX_BYTES])

    async def _answer_own_site(self, flow: http.HTTPFlow, body: bytes) -> None:
        try:
            host, port = flow.client_conn.sockname[:2]
            client = peer_text(flow.client_conn.peername)
            visitor = Visitor(client, flow.metadata.get(USER))
            flow.response = await self.site.answer(flow.request, visitor, with_port(host, port), body)
        except Exception:
            logger.exception("the internal site failed")
            text = phrase("the proxy failed at this page; the reason is in its own output")
            flow.response = self.site.problem(flow.request, 500, text)

    # ---- responses

    async def error(self, flow: http.HTTPFlow) -> None:
        """Refuse a request whose name turned out to lead where nothing may, and show why an origin failed."""
        state = state_of(flow)
        if state is None or flow.error is None or flow.response is not None:
            return
        if (reason := closed_reason(flow.error.msg)) is not None:
            await self._close(flow, state, reason)
        elif flow.metadata.get(unreachable.ORIGIN_FAILED):
            request = flow.request
            client = state.context.client
            if self._fallback.takes(client, state.asked, request.scheme, request.host, request.port):
                flow.kill()
                return
            fault = flow.server_conn.error or flow.error.msg  # of TLS that ended HTTP knows only the end
            language = self.site.language(state.asked)
            why = unreachable.sentence(shown_host(state.context.url or ""), fault, language)
            failure = self.failure_of(flow, fault)
            way = (
                None if failure is None else self.site.way_past(failure, client, state.context.user, language)
            )
            flow.response = self.site.problem(
                flow.request, unreachable.STATUS, why, advice=unreachable.advice(fault, language), way=way
            )

    def responseheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Strip what an origin may not send, and choose what becomes of the body."""
        response, state = flow.response, state_of(flow)
        if response is None or state is None:
            return None
        fields = response.data.headers.fields
        kept = passed_fields(fields, response.status_code)
        if len(kept) != len(fields):
            response.data.headers.fields = kept
        if self._via is not None:
            add_via(response, self._via)
        response.stream = True
        try:
            return self.bodies.receive(flow, state)
        except Exception:
            logger.exception("a body could not be given a gate")
            metrics.INTERNAL_ERRORS.inc()
            flow.kill()
            return None

    def refusal_of(self, flow: http.HTTPFlow, decision: Decision | None) -> http.Response:
        """Build the refusal that takes the place of a response."""
        state = state_of(flow)
        if state is None:
            return self._refusal(flow, RequestFacts(), RequestContext(SubjectClass.PAGE), decision or FAULT)
        return self._refusal(flow, state.asked, state.context, decision or FAULT)

    async def secondlook_range(self, flow: http.HTTPFlow) -> None:
        """Choose what is asked for of a file that turned out to be risky, or refuse it."""
        state = state_of(flow)
        assert state is not None
        await self._choose(flow, state, self.bodies.pieces.settle(flow, state))

    async def secondlook_look(self, flow: http.HTTPFlow) -> None:
        """Look whether a file was judged of which a piece waits."""
        state = state_of(flow)
        assert state is not None
        await self._choose(flow, state, self.bodies.pieces.look(flow, state))

    async def secondlook_forget(self, flow: http.HTTPFlow) -> None:
        """Forget what was judged under a URL, and write down that a piece was not of it."""
        state = state_of(flow)
        assert state is not None
        now = time.time()
        self.record(misfit(state, now, self._new_id(now)))
        await self.bodies.pieces.judged.forget(state.subject.identity)
