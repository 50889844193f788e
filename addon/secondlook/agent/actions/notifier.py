"""When notices are sent, and that a stop or a crash loses none of them.

```
notify ─► waiting, by kind ─► kept in the state folder ─► one message of a kind every so often ─► gone
                                  └─ a stop, a crash: taken up again at the next start
```

Sending runs in its own thread, one message at a time; nobody ever waits for it. What comes between two
messages of one kind is reported together. A stop waits a moment for the message that is on its way; one of
which nobody knows then whether it arrived is sent again, as is one around a crash.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from secondlook.agent import metrics
from secondlook.agent.actions.kept_notices import Kept, KeptNotices
from secondlook.agent.actions.notice import (
    COUNTS_ONLY,
    HOSTS_ONLY,
    Notice,
    Sender,
    counted_only,
    message_of,
    without_client,
)
from secondlook.ground.clock import Clock
from secondlook.ground.lanes import OUTSIDE, STATE
from secondlook.ground.tasks import woken

logger = logging.getLogger(__name__)

_MOST_WAITING = 1000
_LOOK_AGAIN_S = 0.5
_LOOK_S = 1.0  # how often it is looked whether a client is to be erased in what waits
_ON_ITS_WAY_S = 6.0  # how long a stop waits for a message


@dataclass(slots=True)
class _Pending:
    sent_at: float = float("-inf")
    waiting: list[Notice] = field(default_factory=list)
    more: int = 0
    on_its_way: list[Notice] = field(default_factory=list)
    more_on_its_way: int = 0


class Notifier:
    """Collects notices and sends them; `privacy` is the level of `log.privacy`.

    What waits is kept in the file `kept`; None: it is lost with the process.
    """

    def __init__(
        self,
        sender: Sender,
        clock: Clock,
        *,
        at_most_every_s: float = 60.0,
        privacy: int = 0,
        kept: Path | None = None,
    ) -> None:
        self._sender = sender
        self._clock = clock
        self._at_most_every_s = at_most_every_s
        self._privacy = privacy
        self._kept = KeptNotices(kept) if kept is not None else None
        self._pending: dict[str, _Pending] = {}
        self._wake = asyncio.Event()
        self._taken_up = False  # whether what the file holds is here too

    def notify(self, notice: Notice) -> None:
        """Take a notice; never waits, never raises."""
        self._put(notice)
        self._wake.set()

    def _put(self, notice: Notice) -> None:
        pending = self._pending.setdefault(notice.kind, _Pending())
        if len(pending.waiting) < _MOST_WAITING:
            pending.waiting.append(notice)
        else:
            pending.more += 1

    async def run(self) -> None:
        """Send what is due, until cancelled; what is left then is for the next start."""
        alone = False
        try:
            alone = await self._alone()
            await self._take_up()
            await self._send_on_and_on()
        finally:
            await self._leave(alone)

    async def _leave(self, alone: bool) -> None:
        """Keep what is left, where another service still had the file as soon as that one has ended."""
        if self._kept is None:
            return
        try:
            if not alone and self._pending:
                async with asyncio.timeout(_ON_ITS_WAY_S):
                    alone = await self._alone()
            if alone:
                await self._take_up()
            await self.keep()
        except TimeoutError:
            logger.warning("notices that wait are lost: another service has %s", self._kept.path)
        finally:
            await STATE.run(self._kept.let_go)

    async def _alone(self) -> bool:
        """Wait for the end of the service that this one replaces, as at a reload: what it kept is ours.

        False where nothing can be kept.
        """
        while self._kept is not None:
            try:
                await STATE.run(self._kept.take)
            except BlockingIOError:
                await asyncio.sleep(_LOOK_AGAIN_S)
            except OSError:
                break  # nothing can be kept there either, which is reported then
            else:
                return True
        return False

    async def _send_on_and_on(self) -> None:
        while True:
            await self.keep()
            wait_s = await self.send_due()
            await self.keep()
            if wait_s is not None and self._taken_up:
                wait_s = min(wait_s, _LOOK_S)
            await woken(self._wake, wait_s)
            self._wake.clear()

    async def send_due(self) -> float | None:
        """Send what is due now. Return in how many seconds more is due, None: nothing waits."""
        soonest: float | None = None
        for pending in list(self._pending.values()):
            if not (pending.on_its_way or pending.waiting):
                continue
            left_s = pending.sent_at + self._at_most_every_s - self._clock.monotonic()
            if left_s > 0:
                soonest = left_s if soonest is None else min(soonest, left_s)
                continue
            await self._send_all(pending)
        return soonest

    async def _send_all(self, pending: _Pending) -> None:
        """Send what waits of a kind; it goes when it was sent, or could not be."""
        pending.on_its_way += pending.waiting
        pending.more_on_its_way += pending.more
        pending.waiting, pending.more = [], 0
        pending.sent_at = self._clock.monotonic()
        sending = asyncio.ensure_future(self._send_message(pending.on_its_way, pending.more_on_its_way))
        try:
            await self._keep_what_comes(sending)
        except asyncio.CancelledError:
            await asyncio.wait([sending], timeout=_ON_ITS_WAY_S)
            raise
        finally:
            if sending.done():
                pending.on_its_way, pending.more_on_its_way = [], 0

    async def _keep_what_comes(self, sending: asyncio.Future[None]) -> None:
        """Wait until a message was sent, and keep what comes meanwhile."""
        while not sending.done():
            woken = asyncio.ensure_future(self._wake.wait())
            either: list[asyncio.Future[Any]] = [sending, woken]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                woken.cancel()
            self._wake.clear()
            await self.keep()
        self._wake.set()  # of what came nobody has looked yet when it is due

    async def _send_message(self, notices: list[Notice], more: int) -> None:
        try:
            message = message_of(notices, more, self._privacy)
        except Exception:
            logger.exception("notices of which no message can be made are left out")
        else:
            await self.send(*message)

    async def send(self, title: str, body: str) -> bool:
        """Send one message in a thread; False when it failed, which is logged and counted."""
        try:
            sent = await OUTSIDE.run(self._sender.send, title, body)
        except Exception:
            logger.exception("a notice could not be sent")
            sent = False
        metrics.ACTIONS.labels("notify", "done" if sent else "failed").inc()
        return sent

    async def keep(self) -> None:
        """Write what waits, where it is ours to write, and without whom somebody erases."""
        if self._kept is None or not self._taken_up:
            return
        try:
            erased = await STATE.run(self._kept.to_erase)
            for client in erased.values():
                self._erase(client)
            await STATE.run(self._kept.write, self._waiting())
            for path in erased:
                await STATE.run(path.unlink, missing_ok=True)
        except (OSError, ValueError) as error:
            logger.warning("notices that wait cannot be kept: %s", error)

    def _waiting(self) -> Kept:
        return {
            kind: (
                [_private(each, self._privacy) for each in (*pending.on_its_way, *pending.waiting)],
                pending.more + pending.more_on_its_way,
            )
            for kind, pending in self._pending.items()
            if pending.on_its_way or pending.waiting
        }

    def _erase(self, client: str) -> None:
        for pending in self._pending.values():
            pending.on_its_way = [without_client(each, client) for each in pending.on_its_way]
            pending.waiting = [without_client(each, client) for each in pending.waiting]

    async def _take_up(self) -> None:
        """Add what was kept before the start, once."""
        if self._kept is None or self._taken_up:
            return
        kept: Kept = {}
        try:
            kept = await STATE.run(self._kept.read)
        except (OSError, ValueError) as error:
            logger.warning("notices of before the start cannot be read: %s", error)
        self._taken_up = True
        for kind, (notices, more) in kept.items():
            for notice in notices:
                self._put(notice)
            if kind in self._pending:
                self._pending[kind].more += more


async def discard(kept: KeptNotices) -> None:
    """Delete what waits, also what a service leaves that ends, where nobody wants notices any more."""
    if not await STATE.run(kept.lock.exists):
        return  # nobody ever wanted any
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                await STATE.run(kept.take)
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        await STATE.run(kept.clear)
    except OSError as error:
        logger.warning("notices that nobody wants any more cannot be deleted: %s", error)
    finally:
        await STATE.run(kept.let_go)


def _private(notice: Notice, privacy: int) -> Notice:
    """Return what a message will show of a notice at most, and what erasing it takes."""
    if privacy >= COUNTS_ONLY:
        return counted_only(notice)
    if privacy >= HOSTS_ONLY:
        return replace(notice, subject=None, text="")
    return notice
