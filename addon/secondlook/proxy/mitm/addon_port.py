"""What the layers need of the add-on, which knows them: without this they would import each other."""

from typing import Protocol

from mitmproxy import http

from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.core.verdict import Decision
from secondlook.proxy.bodies import Bodies


class AddonPort(Protocol):
    """The add-on as the layer of a connection and its streams see it."""

    def problem(self, request: http.Request, status: int, why: str) -> http.Response:
        """Build an answer of the proxy itself, where there is no other; `why` is a sentence."""

    @property
    def bodies(self) -> Bodies:
        """What chooses gates and judges bodies."""

    @property
    def limits(self) -> TrafficLimitsSettings:
        """How large and how slow heads may be."""

    def refusal_of(self, flow: http.HTTPFlow, decision: Decision | None) -> http.Response:
        """Build the refusal that takes the place of a response; None: nothing could be decided."""
