"""The first step that only a worker sees: a program took a certificate of ours, so it trusts our CA."""

from collections.abc import Awaitable
from pathlib import Path
from time import monotonic

from mitmproxy import tls

from secondlook.ground.first_steps import FirstSteps, Step
from secondlook.ground.lanes import STATE

AGAIN_S = 60.0  # `setup ca off` forgets the step, while other programs may trust it all the same


class TrustSeen:
    """Addon: marks a TLS handshake of a client that succeeds, the first and one a minute."""

    name = "secondlook-trust-seen"

    def __init__(self, state: Path) -> None:
        self._steps = FirstSteps(state)
        self._due = 0.0

    def tls_established_client(self, data: tls.TlsData) -> Awaitable[None] | None:  # noqa: ARG002 - any will do
        """Mark it where that is due."""
        now = monotonic()
        if now < self._due:
            return None
        self._due = now + AGAIN_S
        return STATE.run(self._steps.mark, Step.TRUST)
