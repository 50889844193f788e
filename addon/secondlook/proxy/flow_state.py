"""What the proxy knows of a request that was let through, besides what every front knows."""

from dataclasses import dataclass

from mitmproxy import http

from secondlook.download.exchange import Exchange
from secondlook.download.judged_files import Proof
from secondlook.proxy.ahead import Ahead

FLOW_STATE = "secondlook"  # key of a flow's metadata


@dataclass(slots=True)
class FlowState(Exchange):
    """A request that was let through."""

    proof: Proof | None = None  # the piece that was asked for is held to what was judged
    ahead: Ahead | None = None  # the piece that was asked for before its file is judged
    misfit: bool = False  # the response is not the piece that was asked for
    unproved: bool = False  # what was judged under this URL is no proof of what it gives now


def state_of(flow: http.HTTPFlow) -> FlowState | None:
    """Return what is known of a flow; None when it was not let through by us."""
    state: FlowState | None = flow.metadata.get(FLOW_STATE)
    return state
