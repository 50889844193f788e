"""Which URLs a request is checked by, and the circumstances of its use.

The URL that is checked is built from what the proxy will really use (scheme, connection host, path). When
the request names another host in `Host` or `:authority`, or its TLS another one (a front that hides the true
site), that name is checked as well: origins answer by it, and by the last one their certificates hold.
"""

from functools import lru_cache

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.net.http import url as mitm_url
from mitmproxy.proxy import mode_specs

from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.agent.check.request_context import classify
from secondlook.core.subject import RequestContext, UrlSubject
from secondlook.core.url.address import parse_address
from secondlook.core.url.canonical import canonical_host, origin_text
from secondlook.core.verdict import SubjectClass
from secondlook.download.request_facts import RequestFacts


def request_url(request: http.Request, asked: RequestFacts) -> str:
    """Write the URL that the origin gets, for log and page; text with code points up to 255.

    Where only an address was connected to (SOCKS, transparent mode), the name that the request gives (`Host`,
    in HTTP/2 and 3 `:authority`) stands in its place.
    """
    scheme = request.scheme or "http"
    name = request.host
    if _is_address(name):
        given = asked.hosts[0] if len(asked.hosts) == 1 else request.data.authority.decode("latin-1")
        name = _bare(given) or name
    return origin_text(scheme, name, request.port) + request.data.path.decode("latin-1")


def make_context(
    request: http.Request, asked: RequestFacts, client: str | None, user: str | None
) -> RequestContext:
    """Describe the circumstances of a request."""
    path = request.data.path.decode("latin-1")
    return RequestContext(
        cls=classify(asked.dest, asked.accept, request.method, path),
        client=client,
        user=user,
        method=request.method,
        url=request_url(request, asked),
        referrer=asked.referrer,
    )


def subjects(
    request: http.Request, asked: RequestFacts, gatekeeper: Gatekeeper, sni: str | None = None
) -> tuple[UrlSubject, ...]:
    """Make the subjects that must all pass: the URL as connected to, and under each other name given.

    `sni` is the name that the client's TLS began with, by which the origin's will.
    """
    host = request.data.host
    path = request.data.path
    scheme = request.scheme or "http"
    first = gatekeeper.subject(scheme, host, path)
    given = asked.hosts
    begun = sni if sni and scheme == "https" else host
    if (
        (not given or (len(given) == 1 and _bare(given[0]) == host))
        and not request.data.authority
        and begun == host
    ):
        return (first,)
    names = dict.fromkeys((host,))
    authority = request.data.authority.decode("latin-1")
    if authority:
        names[_bare(authority)] = None
    for name in given:
        if name or len(given) > 1:
            names[_bare(name)] = None
    names[begun] = None
    if len(names) == 1:
        return (first,)
    others = [gatekeeper.subject(scheme, name, path) for name in names if name != host]
    ordered = [*others, first] if _is_address(host) else [first, *others]  # a name says more than an address
    return tuple({subject.identity: subject for subject in reversed(ordered)}.values())[::-1]


def begun_elsewhere(request: http.Request, sni: str | None) -> bool:
    """Return whether the TLS that a request came by began with another name than the request gives.

    Browsers do so: a connection serves every name that its certificate holds and that leads to one address
    (RFC 9113, 9.1.1).
    """
    if not sni or request.scheme != "https":
        return False
    # mitmproxy gives a host as `bücher.example` where TLS names `xn--bcher-kva.example`
    return canonical_host(request.pretty_host)[0] != canonical_host(sni)[0]


def peer_text(address: tuple[str, int] | None) -> str | None:
    """Return a client's IP address in its shortest form: no zone, IPv4 as IPv4."""
    if address is None:
        return None
    host = address[0].partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def tunnel_context(
    scheme: str,
    host: str,
    client: str | None,
    user: str | None,
    *,
    port: int | None = None,
    tunnel: str | None = None,
) -> RequestContext:
    """Describe a visit to a host whose requests are not seen (yet)."""
    url = f"{origin_text(scheme, host, port)}/"
    return RequestContext(SubjectClass.PAGE, client, user, "CONNECT", url, tunnel=tunnel)


def listening(client: Client) -> tuple[str, int] | None:
    """Return the address by which a client asks the proxy itself; None where it knows of no proxy."""
    known = mode_specs.RegularMode | mode_specs.UpstreamMode | mode_specs.Socks5Mode
    return client.sockname[:2] if isinstance(client.proxy_mode, known) else None


@lru_cache(maxsize=4096)
def _is_address(host: str) -> bool:
    return parse_address(host) is not None


@lru_cache(maxsize=4096)
def _bare(authority: str) -> str:
    """Cut port and brackets off; what cannot be read stays as it is, to be found malformed."""
    head, colon, port = authority.rpartition(":")
    if colon and port.isdigit() and (":" not in head or head.endswith("]")):
        authority = head
    if authority.startswith("[") and authority.endswith("]"):
        return authority[1:-1]
    try:
        host, _ = mitm_url.parse_authority(authority, check=True)
    except ValueError:
        return authority
    return host
