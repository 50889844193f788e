"""Who a client is: a rule, a pause or a group names it by IP address, by a network, or by its user name.

`user@address` names that user at that address alone: both must fit.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Final

ERASED: Final = "(erased)"  # in place of a client's name in a text

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4_096)
def network_of(text: str) -> Network | None:
    """Read an address or a network; None for what is neither (a user name)."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


_LIKE_AN_ADDRESS = re.compile(
    r"[\d.]+\.[\d.]+(/.*)?|.*:.*", re.DOTALL
)  # no user's name has a colon (RFC 7617)


class ClientNameError(ValueError):
    """A text that names nobody; it must never come to mean everybody."""


def client_name(text: str) -> str:
    """Bring an address or a network into its shortest form; anything else is a user's name and stays.

    Raise ClientNameError for a blank text, one with control characters, and an address that is none.
    """
    text = text.strip()
    if not text:
        raise ClientNameError("expected an address, a network or a user's name, got nothing")
    if not text.isprintable():
        raise ClientNameError("expected an address, a network or a user's name, got unprintable characters")
    network = network_of(text)
    if network is None:
        user, at, place = text.rpartition("@")
        if at and network_of(place) is not None:
            return f"{user}@{client_name(place)}"
        if _LIKE_AN_ADDRESS.fullmatch(text):
            raise ClientNameError(f"expected an address, a network or a user's name, got {text!r}")
        return text
    return str(network) if "/" in text else str(network.network_address)


def recorded_client(text: str) -> str:
    """Read whom records of checks are sought by: an address or a user, as they name no network and no pair.

    Raise ClientNameError for anything else: it would be found nowhere.
    """
    name = client_name(text)
    network = network_of(name)
    if network is None:
        _, at, place = name.rpartition("@")
        if at and network_of(place) is not None:
            raise ClientNameError(f"expected an address or a user's name, got both in {name!r}")
        return name
    if network.num_addresses > 1:
        raise ClientNameError(f"expected an address or a user's name, got the network {name}")
    return str(network.network_address)


def login_name(client: str | None, user: str | None) -> str | None:
    """Name one user at one address, or an address where nobody logs in; None where there is no address."""
    return client if client is None or user is None else f"{user}@{client}"


def mention(client: str) -> re.Pattern[str]:
    """Make a pattern that finds a client's name in a text, and no longer name that it begins or ends."""
    return re.compile(rf"(?<![\w.:]){re.escape(client)}(?![\w:]|\.\w)")


@lru_cache(maxsize=65_536)
def names_client(name: str, client: str | None, user: str | None) -> bool:
    """Return whether `name` (address, network, user or `user@address`) names this client or user."""
    if name in (client, user):
        return True
    who, at, place = name.rpartition("@")
    if at and network_of(place) is not None:
        return who == user and names_client(place, client, None)
    network = network_of(name)
    address = network_of(client) if client else None
    return network is not None and address is not None and address.network_address in network
