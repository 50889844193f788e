"""What is known of a request that was let through, for as long as its response lasts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy import http

from secondlook.core.subject import RequestContext, UrlSubject
from secondlook.core.verdict import Decision
from secondlook.download.cutting import Cut
from secondlook.download.gate import BodyGate
from secondlook.download.judged_files import Blocks, Lead, Proof
from secondlook.download.ranges import Wanted, WantedRange
from secondlook.proxy.request import RequestFacts

FLOW_STATE = "secondlook"  # key of a flow's metadata


@dataclass(slots=True)
class Body:
    """A gated body and what was decided about it."""

    gate: BodyGate
    use: RequestContext
    etag: str | None = None
    modified: str | None = None
    cut_to: Wanted | None = None  # the ranges a client wanted of a file that was asked for whole
    cut: Cut | None = None  # what is wanted of a piece
    by_memory: bool = False  # risky only for what its URL gave before
    again: bool = False  # a piece that was asked for: if it is risky, the whole is asked for instead
    claims: bool = False  # judged by what arrived, though it says it is a piece
    blocks: Blocks | None = None  # of a body that may be wanted in pieces later
    members: tuple[tuple[str, bytes], ...] = ()  # labelled digests from inside an archive
    problem: str | None = None  # why it could not be looked through
    decision: Decision | None = None
    failed: str | None = None  # the gate broke: what is said about it
    pumped: bytes = b""
    judging: asyncio.Task[None] | None = None  # the verdict, while it is waited for
    stalled: Callable[[], bool] = bool  # whether the client leaves too much of it unread; bool() is False


@dataclass(slots=True)
class FlowState:
    """A request that was let through."""

    subject: UrlSubject
    use: RequestContext
    facts: RequestFacts
    body: Body | None = None
    wanted: Wanted | None = None  # a range that was taken off the request, or widened
    wider: WantedRange | None = None  # what was asked for instead
    proof: Proof | None = None  # the piece that was asked for is held to what was judged
    misfit: bool = False  # the response is not the piece that was asked for
    unproved: bool = False  # what was judged under this URL is no proof of what it gives now
    lead: Lead | None = None  # others wait for what becomes of this
    refusal: Decision | None = None  # decided at the response's headers


def state_of(flow: http.HTTPFlow) -> FlowState | None:
    """Return what is known of a flow; None when it was not let through by us."""
    state: FlowState | None = flow.metadata.get(FLOW_STATE)
    return state


def release_lead(state: FlowState) -> None:
    """Let the others go on who wait for what becomes of a fetch."""
    lead, state.lead = state.lead, None
    if lead is not None:
        lead.release()
