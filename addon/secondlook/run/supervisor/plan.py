"""What the supervisor's children need to know, handed on in an anonymous file. Standard library only.

Settings hold secrets from the environment, so they are never written under a name: an unlinked file is
inherited by its descriptor, and every child reads it from the beginning.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from secondlook.ground.json_text import read_json


@dataclass(frozen=True, slots=True)
class Invocation:
    """How `secondlook run` was called: enough to read the configuration again (SIGHUP)."""

    config: str | None
    overrides: tuple[str, ...] = ()
    state: str | None = None
    listen: tuple[str, ...] = ()
    review: str | None = None
    workers: int | None = None

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "Invocation":
        """Rebuild an invocation from its JSON."""
        return cls(**raw | {"overrides": tuple(raw["overrides"]), "listen": tuple(raw["listen"])})


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the family listens: `host, port` pairs, as configured."""

    proxy: tuple[tuple[str, int], ...]
    review: tuple[str, int] | None
    embedded: bool
    accepts: bool = True  # the workers accept on `proxy`; else mitmproxy listens itself, as its mode needs
    gateway: str | None = None  # path of the socket for the helpers of a gateway
    gateway_group: str | None = None  # who may connect to it besides its owner
    icap: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One configuration, validated: `settings` is the JSON of `secondlook.config.agent.Settings`."""

    settings: str
    state: str
    workers: int
    endpoints: Endpoints
    invocation: Invocation
    gates: int = 0  # gate workers
    hung_after_s: float = 25.0  # of silence
    sockets: dict[str, list[int]] = field(default_factory=dict)  # descriptors by role
    proxy: str | None = None  # host:port of the first listening address; None: no proxy at all
    server: str | None = None  # URL of the embedded server
    own_ports: tuple[int, ...] = ()  # of review page and server: closed through the proxy
    supervisor: int = 0  # process id
    settings_file: str | None = None  # SHA-256 (hex) of the file that the settings were read from
    started_at: float = 0.0  # Unix seconds, of the supervisor
    authority: str = "ecdsa"  # kind of its key, where it has to be made
    commands: str | None = None  # the module whose `answer` runs the commands that the service is asked for


def write_plan(plan: Plan) -> int:
    """Write a plan to an anonymous file and return its descriptor, to be inherited."""
    from tempfile import TemporaryFile  # noqa: PLC0415 - only who writes one needs it

    with TemporaryFile(mode="w+b") as file:
        file.write(json.dumps(asdict(plan)).encode())
        file.flush()
        descriptor = os.dup(file.fileno())
    os.set_inheritable(descriptor, True)
    return descriptor


def read_plan(descriptor: int) -> Plan:
    """Read a plan from an inherited descriptor."""
    size = os.fstat(descriptor).st_size
    return plan_from(read_json(os.pread(descriptor, size, 0)))


def plan_from(raw: dict[str, Any]) -> Plan:
    """Rebuild a plan from its JSON."""
    endpoints = raw.pop("endpoints")
    raw["own_ports"] = tuple(raw["own_ports"])
    invocation = raw.pop("invocation")
    return Plan(
        **raw,
        endpoints=Endpoints(
            **endpoints
            | {
                "proxy": tuple((host, port) for host, port in endpoints["proxy"]),
                "review": tuple(endpoints["review"]) if endpoints["review"] else None,
                "icap": tuple(endpoints["icap"]) if endpoints["icap"] else None,
            }
        ),
        invocation=Invocation.of(invocation),
    )
