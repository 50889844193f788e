"""What the layers say of themselves: they answer an event with commands for the connections."""

from mitmproxy.proxy.layer import CommandGenerator

type Commands = CommandGenerator[None]
