"""One request as a gateway reports it: who asks, for what, and what its headers say that a check looks at.

```
Squid's helper line ─┐                      ┌─► subjects: what must all pass
                     ├─► GatewayRequest ────┼─► context: client, user, method, class
ICAP's REQMOD head ──┘                      └─► asked: what a refusal has to fit
```

The client and the user are those that the gateway names: whoever may connect to us here is trusted for that.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from secondlook.agent.check.request_context import classify
from secondlook.core.rules.client import network_of
from secondlook.core.subject import RequestContext, UrlSubject
from secondlook.core.url.address import is_loopback
from secondlook.core.url.canonical import WEB_PORTS, origin_text
from secondlook.core.verdict import SubjectClass
from secondlook.download.request_facts import RequestFacts
from secondlook.ground.quickly import quickly_made

LONGEST_URL_BYTES = 64 << 10
LONGEST_USER_CHARS = 256
CONNECT = "CONNECT"
_LONGEST_SHOWN = 200
_AUTHORITY_END = re.compile(r"[/?#]")
_REMEMBERED = 8_192  # hosts, and clients, each read once

type MakeSubject = Callable[[str, str, str | bytes], UrlSubject]


class UnreadableRequestError(ValueError):
    """A gateway reported something that is no request; `expected` repeats nothing of what it was."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got[:_LONGEST_SHOWN]!r}")
        self.expected = f"expected {expected}"


@quickly_made
@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """A request, read; `names` are hosts that its origin may also answer by (`Host`, SNI)."""

    scheme: str
    host: str
    port: int
    path: str
    asked: RequestFacts
    context: RequestContext
    names: tuple[str, ...] = ()

    def subjects(self, make: MakeSubject) -> tuple[UrlSubject, ...]:
        """Make the subjects that must all pass: the URL, and under each other name."""
        found: dict[bytes, UrlSubject] = {}
        for host in dict.fromkeys((self.host, *self.names)):
            subject = make(self.scheme, host, self.path)
            found.setdefault(subject.identity, subject)
        return tuple(found.values())


def read_request(
    method: str,
    target: str,
    *,
    client: str | None,
    user: str | None = None,
    sni: str | None = None,
    asked: RequestFacts | None = None,
    gateway: str | None = None,
) -> GatewayRequest:
    """Read a request; `target` is a URL, `host:port` of a tunnel, or a path whose host `Host` names.

    `gateway` names who reports it. Raises UnreadableRequestError.
    """
    asked = asked or RequestFacts()
    if len(target) > LONGEST_URL_BYTES:
        raise UnreadableRequestError(f"a URL of at most {LONGEST_URL_BYTES} bytes", target)
    if method == CONNECT:
        scheme, authority, path = "https", target, "/"
    elif target.startswith("/"):
        if not asked.hosts:
            raise UnreadableRequestError("a URL, or a Host header beside a path", target)
        scheme, authority, path = "http", asked.hosts[0], target
    else:
        scheme, authority, path = _parts(target)
    host, port = _host_and_port(authority, target)
    port = WEB_PORTS.get(scheme, 0) if port is None else port
    names = tuple([_host_and_port(name, name)[0] for name in (*asked.hosts, sni) if name])
    cls = SubjectClass.PAGE if method == CONNECT else classify(asked.dest, asked.accept, method, path)
    context = RequestContext(
        cls=cls,
        client=_address(client),
        user=_user(user),
        method=method,
        url=origin_text(scheme, host, port) + path,
        referrer=asked.referrer,
        gateway=gateway,
    )
    return GatewayRequest(scheme, host, port, path, asked, context, names)


def _parts(url: str) -> tuple[str, str, str]:
    scheme, colon, rest = url.partition("://")
    if not colon or not scheme.isascii() or not scheme.isalpha():
        raise UnreadableRequestError("a URL such as http://example.org/", url)
    found = _AUTHORITY_END.search(rest)
    end = len(rest) if found is None else found.start()
    authority, path = rest[:end], rest[end:]
    return scheme.lower(), authority.rpartition("@")[2], path if path.startswith("/") else f"/{path}"


def _host_and_port(authority: str, whole: str) -> tuple[str, int | None]:
    host, port = _split(authority)
    if not host:
        raise UnreadableRequestError("a host", whole)
    return host, port


@lru_cache(maxsize=_REMEMBERED)
def _split(authority: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        return None, None
    return parts.hostname, port


@lru_cache(maxsize=_REMEMBERED)
def _address(client: str | None) -> str | None:
    """Bring a client's address into its shortest form. Raises UnreadableRequestError for what is none."""
    if client is None:
        return None
    text = client.strip().partition("%")[0]
    if text.lower().startswith("::ffff:") and "." in text:
        text = text[7:]
    network = network_of(text) if "/" not in text else None
    if network is None:
        raise UnreadableRequestError("a client's IP address", client)
    return str(network.network_address)


@lru_cache(maxsize=_REMEMBERED)
def gateway_name(peer: str, here: str) -> str:
    """Return what the gateway at an address is called: `here` for one on this machine, else its address."""
    address = _address(peer)
    return here if address is None or is_loopback(address) else address


def _user(user: str | None) -> str | None:
    if user is None or not user:
        return None
    if len(user) > LONGEST_USER_CHARS or not user.isprintable():
        raise UnreadableRequestError(
            f"a user's name of at most {LONGEST_USER_CHARS} printable characters", user
        )
    return user
