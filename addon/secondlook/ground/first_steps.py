"""The first steps of whoever sets Second Look up: one that was taken is an empty file in `STATE/first-steps`.

Whichever process sees a step taken marks it, the review page ticks it off, and the start names the page until
all are taken. What is marked stays so, but for the trust in an authority that another one has replaced, or
which `setup off` took back.
"""

import logging
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = "first-steps"


class Step(StrEnum):
    """What a newcomer does, in this order."""

    REQUEST = "request"  # something was asked for through the proxy
    TRUST = "trust"  # a program took a certificate of ours
    BLOCK = "block"  # something was blocked
    NOTICE = "notice"  # a notice went out


class FirstSteps:
    """The steps that were taken on a state folder."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def mark(self, step: Step) -> None:
        """Remember that a step was taken; a full disk hinders nobody."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            (self._folder / step).touch(mode=0o600)
        except OSError as error:
            logger.warning("cannot mark the first step %s: %s", step, error)

    def forget(self, step: Step) -> None:
        """Take it that a step was not taken; what cannot be removed stays."""
        with suppress(OSError):
            (self._folder / step).unlink()

    def taken(self) -> frozenset[Step]:
        """Return the steps that were taken; none where the folder cannot be looked into."""
        try:
            return frozenset(step for step in Step if (self._folder / step).exists())
        except OSError:
            return frozenset()

    def all_taken(self) -> bool:
        """Return whether nothing is left; notices are not for everybody."""
        return self.taken() >= {Step.REQUEST, Step.TRUST, Step.BLOCK}
