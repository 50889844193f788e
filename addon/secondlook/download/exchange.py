"""What is known of a request that was let through, for as long as its response lasts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from secondlook.core.subject import RequestContext, UrlSubject
from secondlook.core.verdict import Decision
from secondlook.download.body.ranges import Wanted, WantedRange
from secondlook.download.body.slicing import Slice
from secondlook.download.gate.gate import BodyGate
from secondlook.download.judged_files import Blocks, Lead
from secondlook.download.request_facts import RequestFacts


@dataclass(slots=True)
class Body:
    """A gated body and what was decided about it."""

    gate: BodyGate
    context: RequestContext
    etag: str | None = None
    modified: str | None = None
    coding: str = ""  # the Content-Encoding
    wanted: Wanted | None = None  # the ranges a client wanted of a file that was asked for whole
    slice: Slice | None = None  # what is wanted of a piece
    left: int | None = None  # so many bytes of a piece are to come still, by what it says of itself
    by_memory: bool = False  # risky only for what its URL gave before
    noted: bool = False  # its URL is known to give something risky
    unfinished: bool = False  # it is noted that its client has a part of it
    again: bool = False  # a piece that was asked for: if it is risky, the whole is asked for instead
    claims: bool = False  # judged by what arrived, though it claims to be a piece
    unproved: bool = False  # another than its client wants, or nothing to us: none of what is risky passes
    blocks: Blocks | None = None  # of a body that may be wanted in pieces later
    members: tuple[tuple[str, bytes], ...] = ()  # labelled digests from inside an archive
    problem: str | None = None  # why it could not be looked through
    decision: Decision | None = None
    failed: str | None = None  # the gate broke: what is recorded about it
    pumped: bytes = b""
    judging: asyncio.Task[None] | None = None  # the verdict, while it is waited for
    stalled: Callable[[], bool] = bool  # whether the client leaves too much of it unread; bool() is False

    def within(self, data: bytes) -> bytes:
        """Take the next bytes; return those that belong to it: a piece has no more than it says."""
        if self.left is None:
            return data
        data = data[: self.left]
        self.left -= len(data)
        return data


@dataclass(slots=True)
class Exchange:
    """A request that was let through."""

    subject: UrlSubject
    context: RequestContext
    asked: RequestFacts
    body: Body | None = None
    wanted: Wanted | None = None  # a range that was taken off the request, or widened
    wider: WantedRange | None = None  # what was asked for instead
    lead: Lead | None = None  # others wait for what becomes of this
    refusal: Decision | None = None  # decided at the response's headers


def release_lead(state: Exchange) -> None:
    """Let the others go on who wait for what becomes of a fetch."""
    lead, state.lead = state.lead, None
    if lead is not None:
        lead.release()
