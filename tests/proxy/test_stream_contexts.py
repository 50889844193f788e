"""Contexts that are made for every request share what they must, and nothing else."""

from types import SimpleNamespace

from mitmproxy.proxy import layer

from proxykit.sides import around
from secondlook.proxy.mitm.stream_contexts import SettledOptions, fork


def test_a_fork_has_the_same_ends_and_layers_of_its_own():
    context = around()
    above = layer.NextLayer(context)
    context.layers.append(above)
    other = SimpleNamespace()
    made = fork(context, other)
    assert (made.client, made.server, made.options) == (context.client, context.server, other)
    made.layers.append(layer.NextLayer(made))
    assert context.layers == [above]
    assert made.layers[0] is above


def test_options_are_read_once_and_stay_as_they_were():
    given = SimpleNamespace(rawtcp=True)
    settled = SettledOptions(given)
    assert (settled.rawtcp, settled.proxy_debug) == (True, False)
    given.rawtcp = False
    assert settled.rawtcp is True
