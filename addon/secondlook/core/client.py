"""Who a client is: a rule, a pause or a group names it by IP address, by a network, or by its user name."""

import ipaddress
from functools import lru_cache

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4_096)
def network_of(text: str) -> Network | None:
    """Read an address or a network; None for what is neither (a user name)."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def client_name(text: str) -> str:
    """Bring an address or a network into its shortest form; anything else is a user's name and stays."""
    network = network_of(text)
    if network is None:
        return text
    return str(network) if "/" in text else str(network.network_address)


@lru_cache(maxsize=65_536)
def names_client(name: str, client: str | None, user: str | None) -> bool:
    """Whether `name` (address, network or user) names this client (an address) or user."""
    if name in (client, user):
        return True
    network = network_of(name)
    address = network_of(client) if client else None
    return network is not None and address is not None and address.network_address in network
