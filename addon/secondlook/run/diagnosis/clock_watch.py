"""Noticing that the machine's clock was set: the log records it, since times in it then stand askew."""

import asyncio
import logging

from secondlook.core.event import Event, EventKind
from secondlook.ground.clock import Clock
from secondlook.ledger.log.recorder import Recorder

logger = logging.getLogger(__name__)

EVERY_S = 5.0
JUMP_S = 60.0  # smaller steps are a clock that is kept right


async def watch_clock(recorder: Recorder, clock: Clock) -> None:
    """Compare the wall clock with the time that elapses, until cancelled."""
    before_s = clock.now() - clock.elapsed()
    while True:
        await asyncio.sleep(EVERY_S)
        ahead_s = clock.now() - clock.elapsed()
        jump_s, before_s = ahead_s - before_s, ahead_s
        if abs(jump_s) < JUMP_S:
            continue
        way = "forward" if jump_s > 0 else "back"
        detail = f"the clock was set {way} by {_span(abs(jump_s))}; nothing expires because of it"
        logger.warning("%s", detail)
        recorder.record(Event(id="", kind=EventKind.ERROR, time=clock.now(), detail=detail))


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"
