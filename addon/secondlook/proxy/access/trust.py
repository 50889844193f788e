"""The first step that only a worker sees: a program took a certificate of ours, so it trusts our CA."""

from collections.abc import Awaitable
from pathlib import Path

from mitmproxy import tls

from secondlook.ground.first_steps import FirstSteps, Step
from secondlook.ground.lanes import STATE


class TrustSeen:
    """Addon: marks the first TLS handshake of a client that succeeds."""

    name = "secondlook-trust-seen"

    def __init__(self, state: Path) -> None:
        self._steps: FirstSteps | None = FirstSteps(state)

    def tls_established_client(self, data: tls.TlsData) -> Awaitable[None] | None:  # noqa: ARG002 - any will do
        """Mark the first, and look at none after it."""
        steps, self._steps = self._steps, None
        return None if steps is None else STATE.run(steps.mark, Step.TRUST)
