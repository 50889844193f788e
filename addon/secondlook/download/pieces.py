"""A judged file that is wanted again: its digests are looked at again; a piece of another file is noted."""

from collections.abc import Awaitable
from dataclasses import replace

from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.agent.check.record import host_of, url_of
from secondlook.core.event import Event, EventKind
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Action, Decision, SubjectClass
from secondlook.download.body.ranges import EntityMemory
from secondlook.download.body.response_facts import NOT_MODIFIED_STATUS
from secondlook.download.exchange import Exchange
from secondlook.download.judged_files import JudgedFile, JudgedFiles

PIECES = "pieces"  # the stage of an event about a piece that does not fit
_MISFIT = (
    "a piece is not of the file that was judged at this address: that is another by now, or what came is not"
    " what was asked for"
)


async def judge_again(gatekeeper: Gatekeeper, file: JudgedFile, context: RequestContext) -> Decision:
    """Decide about a judged file once more, by its digests: for a piece, and for who wants it now."""
    context = replace(context, cls=SubjectClass.DOWNLOAD)
    if file.problem is not None:
        return await gatekeeper.unsure(file.subject, context, file.problem)
    now = gatekeeper.now(file.subject, context)
    return now if now is not None else await gatekeeper.check(file.subject, context)


def look_at_kept(
    status: int, state: Exchange, gatekeeper: Gatekeeper, memory: EntityMemory, judged: JudgedFiles
) -> Awaitable[None] | None:
    """Look again at a file that its client has kept, where a 304 would have it go on with that.

    The refusal of one that is listed by now is in the state; None where there is nothing to look at.
    """
    risky = state.context.cls is SubjectClass.DOWNLOAD or memory.is_risky(state.subject.identity)
    return _look_at_kept(state, gatekeeper, judged) if risky and status == NOT_MODIFIED_STATUS else None


async def _look_at_kept(state: Exchange, gatekeeper: Gatekeeper, judged: JudgedFiles) -> None:
    file = await judged.known(state.subject.identity)
    if file is not None:
        decision = await judge_again(gatekeeper, file, state.context)
        state.refusal = decision if decision.action is Action.BLOCK else None


def misfit(state: Exchange, now: float, event_id: str) -> Event:
    """Make the event about a piece that is not of the file that was judged."""
    return Event(
        id=event_id,
        kind=EventKind.ERROR,
        time=now,
        cls=SubjectClass.DOWNLOAD,
        url=url_of(state.subject, state.context),
        host=host_of(state.subject, state.context),
        method=state.context.method,
        client=state.context.client,
        user=state.context.user,
        gateway=state.context.gateway,
        stage=PIECES,
        detail=_MISFIT,
    )
