"""HTTP to addresses that were judged: a name is resolved once, and no second answer leads elsewhere."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum

import httpx

from secondlook.core.url.address import AddressClass, classify, parse_address
from secondlook.resolver import Place


class Depth(IntEnum):
    """How far inside an address lies, as seen from this machine."""

    PUBLIC = 0
    NETWORK = 1
    MACHINE = 2  # this machine, what is on its own cable, and what only machines may ask (metadata)


_MACHINE = frozenset(
    {AddressClass.LOOPBACK, AddressClass.UNSPECIFIED, AddressClass.LINK_LOCAL, AddressClass.METADATA}
)


def depth(place: Place) -> Depth:
    """Return how far inside an address lies."""
    address = parse_address(place.text)
    if address is None:
        return Depth.MACHINE
    kind = classify(address)
    if kind is AddressClass.PUBLIC:
        return Depth.PUBLIC
    return Depth.MACHINE if kind in _MACHINE else Depth.NETWORK


@asynccontextmanager
async def get(
    client: httpx.AsyncClient,
    url: httpx.URL,
    places: Sequence[Place],
    headers: Mapping[str, str],
    *,
    port: int | None = None,
) -> AsyncGenerator[httpx.Response]:
    """GET a URL from the first of its host's judged addresses that takes a connection.

    `port` is another than the URL's, for tests. Nothing is followed. Raises what httpx raises. Where there
    are several addresses, each but the last has a quarter of the client's time to connect.
    """
    response: httpx.Response | None = None
    whole = client.timeout.connect
    sent = httpx.Headers({"Host": url.netloc.decode("ascii")})
    sent.update(headers)
    for index, place in enumerate(places):
        last = index == len(places) - 1
        patience = whole if last or whole is None else whole / 4
        request = client.build_request(
            "GET",
            url.copy_with(host=place.text, port=port or url.port, fragment=None),
            headers=sent,
            timeout=httpx.Timeout(**(client.timeout.as_dict() | {"connect": patience})),
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if last:
                raise
            continue
        break
    if response is None:
        raise httpx.ConnectError("the host has no address")
    try:
        yield response
    finally:
        await response.aclose()
