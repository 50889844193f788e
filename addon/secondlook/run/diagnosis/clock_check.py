"""Whether the clock is right, and stays so: certificates, expiries and the age of lists depend on it."""

import asyncio
import logging
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from secondlook.config.agent import Settings
from secondlook.core.event import Event, EventKind
from secondlook.ground.clock import Clock
from secondlook.ledger.log.recorder import Recorder
from secondlook.run.diagnosis.check_result import NETWORK_TIMEOUT_S, CheckResult

logger = logging.getLogger(__name__)

CLOCK_WRONG_S = 120.0
EVERY_S = 5.0
JUMP_S = 60.0  # smaller steps are a clock that is kept right
_AGE = re.compile(r"[0-9]{1,9}")
_SET_CLOCK = "set it right (timedatectl set-ntp true): certificates and expiries depend on it"


async def clock(settings: Settings) -> CheckResult:
    """Compare the clock with our own files, then with the first remote that gives a Date header."""
    ahead = from_the_future(settings.state)
    if ahead is not None:
        text = f"the clock is at least {ahead:.0f} s behind: files of Second Look are younger than now"
        return CheckResult("clock", "problem", text, _SET_CLOCK)
    remotes = [server.url for server in settings.servers.intranet]
    if settings.servers.network is not None:
        remotes.append(settings.servers.network.url)
    remotes += [feed.url for feed in settings.feeds if feed.url is not None]
    proxy = settings.upstream_proxy.url if settings.upstream_proxy is not None else None
    for url in remotes[:3]:
        there = await date_of(url, proxy)
        if there is None:
            continue
        now = time.time()
        return compared(now - min(max(now, there[0]), there[1]), str(httpx.URL(url).host))
    return CheckResult("clock", "unknown", "no remote server could be asked for the time")


def compared(off_s: float, whose: str) -> CheckResult:
    """Judge a clock that is ahead of another by so much."""
    if abs(off_s) <= CLOCK_WRONG_S:
        return CheckResult("clock", "ok", f"the clock agrees with {whose}")
    how = "ahead of" if off_s > 0 else "behind"
    return CheckResult(
        "clock", "problem", f"the clock is {abs(off_s):.0f} s {how} that of {whose}", _SET_CLOCK
    )


def from_the_future(state: Path) -> float | None:
    """Return by how many seconds the youngest of our own files lies ahead of now; None when none does."""
    written = [path.stat().st_mtime for path in state.glob("*") if path.is_file()]
    ahead = max(written, default=0.0) - time.time()
    return ahead if ahead > CLOCK_WRONG_S else None


async def date_of(url: str, proxy: str | None) -> tuple[float, float] | None:
    """Ask a server for its time: not before, not after (Unix seconds); None when it gives none.

    A cache on the way gives an answer that is so old as its Age says, with the Date of then or of now.

    A wrong clock makes good certificates look expired or not yet valid: it is then asked again without
    looking at the certificate. Nothing but the time is taken from the answer, and it decides nothing.
    """
    for verify in (True, False):
        try:
            async with httpx.AsyncClient(
                trust_env=False, timeout=NETWORK_TIMEOUT_S, proxy=proxy, verify=verify
            ) as client:
                answer = await client.head(url)
            date = parsedate_to_datetime(answer.headers["date"])
            at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
            age = answer.headers.get("age", "")
            return at, at + (int(age) if _AGE.fullmatch(age) else 0)
        except httpx.ConnectError:
            continue
        except (httpx.HTTPError, KeyError, ValueError):
            return None
    return None


async def watch_clock(recorder: Recorder, clock: Clock) -> None:
    """Compare the wall clock with the time that elapses, until cancelled.

    The log records that it was set, since times in it then stand askew.
    """
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
