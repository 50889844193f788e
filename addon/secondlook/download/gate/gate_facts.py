"""What is known of a body at its gate (`gate.py`): how it goes on, what is held, and what may be in it."""

from secondlook.download.body.byte_parts import ByteParts
from secondlook.download.body.inspection import BodyLook
from secondlook.download.body.mixed_parts import MixedParts
from secondlook.download.body.signatures import READ_ARCHIVES, UNREAD_ARCHIVES
from secondlook.download.gate.gate_state import Fate, GateLimits, GateState, Refuse, Tap
from secondlook.download.gate.spool import BACKLOG_MAX_BYTES, Spool
from secondlook.download.gate.trickle import Trickle


class GateFacts:
    """The gate as those see it who judge and drive it; nothing here changes it."""

    __slots__ = ("_limits", "_must_hold", "_parts", "_state", "look", "partial", "tap", "trickles", "whole")

    _limits: GateLimits
    _must_hold: bool
    _parts: MixedParts | ByteParts | None
    _state: GateState
    look: BodyLook
    partial: bool
    tap: Tap | None
    trickles: Trickle
    whole: bool

    @property
    def fate(self) -> Fate:
        """The name of the state."""
        return self._state.fate

    @property
    def spool(self) -> Spool | None:
        """What is held on disk, or copied there."""
        return self._state.spool

    @property
    def uncopied(self) -> str | None:
        """Why there is no copy of an archive to be looked into."""
        return self._state.uncopied

    @property
    def release(self) -> bool:
        """Return whether the spool goes on now, before what `feed` returned; `released` follows it."""
        return self._state.releasing

    @property
    def problem(self) -> str | None:
        """Why it could not be held or looked into."""
        if isinstance(self._state, Refuse):
            return self._state.why
        if not self.whole:
            return None
        if self.look.signature in UNREAD_ARCHIVES and self._limits.look_up_to:
            return f"archive: {self.look.signature} is a kind that is not looked into"
        return self.look.problem

    @property
    def open(self) -> bool:
        """Return whether bytes of the body may go on before its end, so that its headers go at once."""
        live = self.look.declared.live and not self.partial
        return self.fate in {Fate.PASS, Fate.TAIL} or (live and self.fate is Fate.SNIFF)

    @property
    def unsettled(self) -> bool:
        """Return whether it must be settled before anything goes on, whole or not."""
        return self.fate in {Fate.ASK, Fate.REFUSE}

    @property
    def followed(self) -> bool:
        """Return whether what comes has to be seen, though it goes on at once."""
        return self._parts is not None

    @property
    def unclear(self) -> bool:
        """Return whether all of a piece is too little to know how the whole begins."""
        return self.partial and self.fate is Fate.SNIFF and self.look.undecided()

    @property
    def is_archive(self) -> bool:
        """Return whether a body (known whole) is an archive of a kind that can be looked into."""
        if not self.whole or self.fate not in {Fate.HOLD, Fate.TAIL}:
            return False
        return self.look.signature in READ_ARCHIVES or self.look.holds_archive

    @property
    def keeps_its_end(self) -> bool:
        """Return whether the end of a body that broke off goes to nobody, whatever its digests are.

        A length may be a lie, so what came may be all of a file: one that has to be looked into, and was not.
        """
        if self.fate not in {Fate.TAIL, Fate.SMALL, Fate.PASS}:
            return True
        look = self.look
        unlooked = look.holds_archive or look.signature in READ_ARCHIVES or look.signature in UNREAD_ARCHIVES
        return look.risky and (look.problem is not None or (unlooked and self._limits.look_up_to > 0))

    @property
    def harmless(self) -> bool:
        """Return whether nothing in a body (known whole) can hurt, whatever its headers or its URL claim."""
        known = self.whole and self.problem is None and not self.look.blind
        unknown = self.look.signature is not None or self.look.unshown or self.look.holds_archive
        return known and not unknown

    @property
    def congested(self) -> bool:
        """Return whether the origin should pause: the disk is behind."""
        behind = self.tap is not None and self.tap.congested
        return behind or (self.spool is not None and self.spool.backlog > BACKLOG_MAX_BYTES)

    @property
    def rest_bytes(self) -> int:
        """How much memory holds back."""
        return sum(len(chunk) for held in self._state.memory for chunk in held)

    @property
    def spare(self) -> int:
        """How many bytes of what is held may go on before the verdict, as its client waits for long."""
        return 0 if self._must_hold else self.trickles.spare(self._state)
