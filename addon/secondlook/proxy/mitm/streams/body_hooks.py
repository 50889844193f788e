"""Hooks of ours that a body waits for; `proxy/held_bodies.py` and `proxy/addon.py` answer them."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.proxy import commands


@dataclass
class SecondlookBodyHook(commands.StartHook):
    """A body is whole and must be judged with waiting."""

    flow: http.HTTPFlow


@dataclass
class SecondlookPumpHook(commands.StartHook):
    """The next piece of a held body is wanted, as soon as the client has room for it."""

    flow: http.HTTPFlow


@dataclass
class SecondlookTrickleHook(commands.StartHook):
    """A few bytes of a held body are wanted, for its client waits for long."""

    flow: http.HTTPFlow


@dataclass
class SecondlookRangeHook(commands.StartHook):
    """A file that is wanted in pieces turned out to be risky: what to ask for must be chosen."""

    flow: http.HTTPFlow


@dataclass
class SecondlookLookHook(commands.StartHook):
    """A piece waits for the verdict of a file that another client fetches: look whether it is there."""

    flow: http.HTTPFlow


@dataclass
class SecondlookForgetHook(commands.StartHook):
    """A URL does not give any more what was judged."""

    flow: http.HTTPFlow


@dataclass
class SecondlookSettleHook(commands.StartHook):
    """The disk is behind: wait for it."""

    flow: http.HTTPFlow


@dataclass
class SecondlookCutHook(commands.StartHook):
    """A download is about to be cut: a client that asks again meets the refusal in any worker."""

    flow: http.HTTPFlow
