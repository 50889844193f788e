"""Hooks of ours that a body waits for; `proxy/held_bodies.py` and `proxy/addon.py` answer them."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.proxy import commands


@dataclass
class _BodyHook(commands.StartHook):
    name = ""  # mitmproxy knows only those below by name
    flow: http.HTTPFlow


class SecondlookBodyHook(_BodyHook):
    """A body is whole and must be judged with waiting."""


class SecondlookPumpHook(_BodyHook):
    """The next piece of a held body is wanted, as soon as the client has room for it."""


class SecondlookTrickleHook(_BodyHook):
    """A few bytes of a held body are wanted, for its client waits for long."""


class SecondlookRangeHook(_BodyHook):
    """A file that is wanted in pieces turned out to be risky: what to ask for must be chosen."""


class SecondlookLookHook(_BodyHook):
    """A piece waits for the verdict of a file that another client fetches: look whether it is there."""


class SecondlookForgetHook(_BodyHook):
    """A URL does not give any more what was judged."""


class SecondlookSettleHook(_BodyHook):
    """The disk is behind: wait for it."""


class SecondlookCutHook(_BodyHook):
    """A download is about to be cut: a client that asks again meets the refusal in any worker."""
