"""The end of streams and of connections: what nobody needs any more is freed at once.

Each layer of mitmproxy is in the list of layers of its own context, and keeps its states as bound methods:
circles, which only the search for garbage finds. Every request left one, every connection many. Looking for
them took a twentieth of the time of a request, and halted all others meanwhile.
"""

from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http import HttpStream

from secondlook.proxy.mitm.commands import Commands


def part_with(stream: HttpStream) -> None:
    """Open the circles of a stream that was dropped; what still comes for it goes nowhere."""
    layers = stream.context.layers
    if stream.child_layer is None and layers[-1] is stream:
        layers.pop()
        stream.client_state = stream.server_state = _over


def _over(_: events.Event) -> Commands:
    yield from ()


def dissolve(top: Layer) -> None:
    """Take the layers of a connection apart that is closed: no event comes to them any more.

    One that waits for something in the middle of an event is left as it is.
    """
    waiting = [top]
    while waiting:
        layer = waiting.pop()
        if vars(layer).get("_paused") is not None:
            continue
        parts = list(vars(layer).values())
        vars(layer).clear()
        for part in parts:
            if isinstance(part, Layer):
                waiting.append(part)
            elif isinstance(part, Context):
                waiting += part.layers
                part.layers.clear()
            elif isinstance(part, dict):  # the connections and streams of HTTP
                waiting += [each for each in part.values() if isinstance(each, Layer)]
