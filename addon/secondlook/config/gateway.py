"""Settings of what a gateway (another proxy) asks: helper lines and ICAP."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from secondlook.config.value import (
    Bytes,
    FilePath,
    Listen,
    Network,
    Positive,
    Section,
    Switch,
    Text,
    problem,
    section,
    short_for,
)

MOST_GATES = 64
LARGEST_PREVIEW_BYTES = 1 << 20


class IcapSettings(Section):
    """The ICAP listener (RFC 3507); without `listen` there is none."""

    listen: Listen | None = None
    clients: tuple[Network, ...] = ()  # gateways that may ask, besides those of this machine
    preview: Annotated[Bytes, Field(le=LARGEST_PREVIEW_BYTES)] = 4096  # of a body, before all of it is sent
    max_connections: Positive = 1000  # in each gate worker
    users: Literal["plain", "base64"] = "plain"  # how names come in X-Authenticated-User

    @model_validator(mode="after")
    def _open_only_to_named_gateways(self) -> Self:
        if self.listen is not None and not self.listen.loopback and not self.clients:
            raise problem(
                "clients",
                f"expected the networks of the gateways that may ask, as {self.listen} is open to the "
                "network (such as clients: [192.168.0.5])",
            )
        return self


class GatewaySettings(Section):
    """What answers the helpers of a gateway such as Squid, and its ICAP client."""

    enabled: Switch = False
    socket: FilePath | None = None  # STATE/gateway.sock
    group: Text | None = None  # whose members may connect to it besides its owner: the gateway's
    name: Text = "squid"  # of the one on this machine, in log and statistics
    workers: Annotated[Positive, Field(le=MOST_GATES)] = 1  # processes
    icap: Annotated[IcapSettings, short_for("listen", str)] = section()
