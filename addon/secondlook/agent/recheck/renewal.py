"""Confirmed entries are asked about again: a block ends when nobody lists its cause any more.

An entry is withdrawn when every tier that may be asked has answered and none lists it, and no list of
the local pattern holds it. While somebody who could answer is silent, the block stays; so it does while
the tier that listed it cannot be asked from here but may be later. A re-block ends by its time alone. What
an engine found in a file stays until that engine, with newer signatures, finds nothing in it, however mildly
others list the file.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from secondlook.agent.check.evidence import from_entry, is_listed, worse_of
from secondlook.agent.check.record import closing_event, finding_of
from secondlook.agent.check.view import REBLOCK, in_force
from secondlook.agent.ports import ConfirmedSet
from secondlook.agent.recheck.batch_check import BatchCheck, Hit
from secondlook.core.event import ConfirmedEntry, EventKind
from secondlook.core.scan import ENGINES
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Evidence, SubjectClass
from secondlook.ground.clock import Clock

PATTERN_RENEWAL_S = 86_400.0  # what a list holds is looked at with each generation, and at least so often
_QUIET_S = 60.0  # after a silent server, the schedule leaves the confirmed set alone for so long
_EXPIRY_STEP_S = 30.0  # expiries are written in steps, so that one statement renews many
_AT_ONCE = 100
_MOST = 10_000_000


class Renewal:
    """Renews or withdraws confirmed entries."""

    def __init__(
        self,
        batch_check: BatchCheck,
        confirmed: ConfirmedSet,
        clock: Clock,
        *,
        still_found: Callable[[ConfirmedEntry], Awaitable[bool | None]] | None = None,
    ) -> None:
        self._batch_check = batch_check
        self._still_found = still_found
        self._confirmed = confirmed
        self._clock = clock
        self._quiet_until = 0.0
        self._unanswered = False  # whether somebody was silent when all were last asked about

    async def renew(self, *, everything: bool, forced: bool = False) -> int:
        """Ask about entries past their expiry (`everything`: all). Return how many were withdrawn.

        `forced` asks although a server was silent a moment ago, and about all again where that left some of
        them without an answer. Raise LedgerError.
        """
        if not (everything or forced) and self._clock.monotonic() < self._quiet_until:
            return 0
        everything = everything or (forced and self._unanswered)
        now = self._clock.now()
        entries = await self._confirmed.due(now, limit=_MOST, everything=everything)
        over = [entry for entry in entries if entry.source == REBLOCK and not in_force(entry, now)]
        await self._withdraw(
            over, "the time is over for which the URL of a bad file is refused; the file stays listed"
        )
        asked = [entry for entry in entries if entry.source != REBLOCK]
        evidences = await self._batch_check.check([_as_hit(entry) for entry in asked])
        gone: list[ConfirmedEntry] = []
        kept: list[tuple[ConfirmedEntry, Evidence]] = []
        silent = False
        for entry, evidence in zip(asked, evidences, strict=True):
            own = replace(from_entry(entry, now), expires_at=None) if await self._holds(entry) else None
            if is_listed(evidence):
                kept.append((entry, worse_of(own, evidence)))
            elif own is not None:
                kept.append((entry, own))
            elif evidence.unverifiable is not None or self._may_speak_later(entry):
                silent = True
            else:
                gone.append(entry)
        if silent:
            self._quiet_until = self._clock.monotonic() + _QUIET_S
        if everything:
            self._unanswered = silent
        await self._extend(kept)
        await self._withdraw(gone, "no longer listed")
        return len(gone)

    async def _holds(self, entry: ConfirmedEntry) -> bool:
        """Return whether an engine that found something in a file has not reported otherwise since."""
        if self._still_found is None or entry.source not in ENGINES:
            return False
        return await self._still_found(entry) is not False

    def _may_speak_later(self, entry: ConfirmedEntry) -> bool:
        """Return whether the tier that listed an entry cannot be asked from here, but may be another time."""
        kind, cls = entry.kind, _class_of(entry)
        lookup = self._batch_check.lookup
        return (
            entry.tier is not None and entry.tier not in lookup.tiers(kind, cls) and lookup.awaited(kind, cls)
        )

    async def _extend(self, kept: Sequence[tuple[ConfirmedEntry, Evidence]]) -> None:
        now = self._clock.now()
        changed: list[tuple[ConfirmedEntry, None, None]] = []
        until: dict[float, list[bytes]] = {}
        for entry, evidence in kept:
            expires_at = expiry_of(evidence, now)
            if evidence.risk != entry.risk or evidence.list != entry.list:
                renewed = replace(entry, **finding_of(evidence), expires_at=expires_at)
                changed.append((renewed, None, None))
            else:
                step = expires_at // _EXPIRY_STEP_S * _EXPIRY_STEP_S
                until.setdefault(max(step, now + 1.0), []).append(entry.identity)
        if changed:
            await self._confirmed.add_many(changed)
        for expires_at, identities in until.items():
            await self._confirmed.extend(identities, expires_at)

    async def _withdraw(self, entries: Sequence[ConfirmedEntry], why: str) -> None:
        now = self._clock.now()
        for at in range(0, len(entries), _AT_ONCE):
            await asyncio.gather(
                *(
                    self._confirmed.withdraw(
                        entry.identity,
                        closing_event(
                            EventKind.WITHDRAWN,
                            entry,
                            time=now,
                            detail=why,
                            extra={"list": entry.list, "server": entry.server},
                        ),
                    )
                    for entry in entries[at : at + _AT_ONCE]
                )
            )
        self._batch_check.view.forget(entry.hit for entry in entries)


def expiry_of(evidence: Evidence, now: float) -> float:
    """Return the instant at which a confirmed entry is asked about again."""
    return evidence.expires_at if evidence.expires_at is not None else now + PATTERN_RENEWAL_S


def _class_of(entry: ConfirmedEntry) -> SubjectClass:
    if entry.cls is not None:
        return entry.cls
    return SubjectClass.DOWNLOAD if entry.kind is SubjectKind.FILE else SubjectClass.PAGE


def _as_hit(entry: ConfirmedEntry) -> Hit:
    return Hit(entry.kind, _class_of(entry), (entry.hit,))
