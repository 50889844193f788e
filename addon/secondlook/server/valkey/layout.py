"""Published generations in Valkey (Redis protocol), one server or a Cluster: for data beyond one machine.

```
secondlook:current             number of the generation that is served
secondlook:turn                how often something came to be served: less in a store that came back older
secondlook:N:manifest          its manifest, how many bits of a hash name a bucket, and which loading it is
secondlook:N:being-loaded      there while somebody loads it, and up to a minute longer: it expires
secondlook:N:L:being-loaded    there while this loading goes on; it expires where that broke off
secondlook:N:L:t:BUCKET        hash: 4-byte prefix -> (28 bytes of the hash, u32 detail)…, and a mark
secondlook:N:L:d:I             pieces of details.bin
secondlook:l:CHECKSUM:I        pieces of a list's sorted entries, shared by generations with the same list
```

The bucket of a prefix is its upper bits, about 16 hashes each, so the entries of a generation spread
over all nodes of a Cluster and each small hash is stored compactly. Every bucket is there, even an empty
one, and holds a mark: one without it was evicted or deleted, and a search in it fails instead of finding
nothing. A generation is loaded whole before `current` names it, each loading (L) under names of its own
before the manifest names that: there is no gap, and publishers that load the same number at once, or one that
goes on after a long sleep, mix nothing (earlier versions had names without L).
The one before it stays until the next publication, and is deleted beginning with its manifest, which
every search looks at: a reader that was left behind fails (its clients ask another server) instead of
finding nothing. So does one under which other data were loaded with the number that it knows, as from a
folder that was set up anew: the loading, last in the manifest, is another one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from secondlook.ground.errors import ServiceError

SPACE: Final = "secondlook"
PIECE_BYTES: Final = 1 << 20
MARK: Final = b""  # the field that every bucket has
LOADING_BYTES: Final = 32  # that differ from one loading of a generation to the next
NAMED_CHARS: Final = 8  # of these, in the names of keys
TIMEOUT_S: Final = 2.0
_REFUSED: Final = "of pipeline caused error: "  # how the client ends a command, before what the store said
_AROUND: Final = "()'\","
FAULTS: Final = (RedisError, RedisClusterException, OSError)  # all that a store that is away can raise

type Client = Redis | RedisCluster


@contextmanager
def faults_of_store(doing: str) -> Iterator[None]:
    """Raise ServiceError for whatever befalls `read from` or `write to` the store."""
    try:
        yield
    except FAULTS as error:
        raise fault_of_store(doing, error) from error


def fault_of_store(doing: str, error: Exception) -> ServiceError:
    """Put in words what befell the store: its own, without the bytes of the command that it refused."""
    _, refused, cause = str(error).rpartition(_REFUSED)
    return ServiceError(f"cannot {doing} the Valkey store: {cause.strip(_AROUND) if refused else cause}")


def connect(url: str, *, patient: bool = True) -> Client:
    """Make a client of `valkey://host:port/db`, `valkeys://…` (TLS) or `valkey+cluster://host:port,…`.

    Each may name `user:password@`, and parameters such as `?ssl_ca_certs=…` (`valkeys+cluster`: TLS). One
    that is not patient fails at once where a Cluster's node is away; it needs `learn_topology` then.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.replace("valkeys", "rediss").replace("valkey", "redis")
    timeouts: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    if not scheme.endswith("+cluster"):
        client: Redis = Redis.from_url(f"{scheme}://{rest}", decode_responses=False, **timeouts)
        return client
    where, _, more = rest.partition("?")
    access, at, places = where.partition("/")[0].rpartition("@")
    first, *others = places.split(",")
    nodes = []
    for place in others:
        host, _, port = place.rpartition(":")
        nodes.append(ClusterNode(host.strip("[]"), int(port)))
    if not patient:
        timeouts["retry"] = Retry(NoBackoff(), 0)
    url = f"{scheme.removesuffix('+cluster')}://{access}{at}{first}?{more}"
    return RedisCluster.from_url(url, startup_nodes=nodes, require_full_coverage=False, **timeouts)


async def learn_topology(client: Client) -> None:
    """Ask a Cluster's nodes who has which part now; connections in use stay."""
    if isinstance(client, RedisCluster):
        await client.nodes_manager.initialize()


def key_of(*parts: object) -> str:
    """Return the name of a key of ours."""
    return ":".join((SPACE, *map(str, parts)))


def table_of(number: int, about: Mapping[str, Any]) -> tuple[object, ...]:
    """Return how the names of a loading's table and details begin; `about` is what is beside its manifest."""
    return (number, about["loading"][:NAMED_CHARS]) if about.get("apart") else (number,)


def pieces_of(data: memoryview) -> Iterator[bytes]:
    """Cut data into the pieces that one key holds."""
    for at in range(0, len(data), PIECE_BYTES):
        yield bytes(data[at : at + PIECE_BYTES])


def pipeline_of(client: Client) -> Any:
    """Make a pipeline without a transaction; a Cluster's goes to every node concerned at once."""
    return client.pipeline(transaction=False) if isinstance(client, Redis) else client.pipeline()


async def memory_of(client: Client) -> list[dict[str, Any]]:
    """Return `INFO memory` of every node that holds data."""
    if isinstance(client, Redis):
        return [await client.info("memory")]
    found = await client.info("memory", target_nodes=RedisCluster.PRIMARIES)
    return [found] if "maxmemory" in found else list(found.values())


async def eviction_of(client: Client) -> str | None:
    """Return why a store may throw entries away when its memory is full; None when it does not."""
    for memory in await memory_of(client):
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if int(memory.get("maxmemory", 0)) and policy.startswith("allkeys"):
            return f"it evicts entries when its memory is full (maxmemory-policy {policy}): set noeviction"
    return None
