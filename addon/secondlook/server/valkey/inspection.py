"""What is served from a Valkey store, for commands: on a machine whose own folder has no generation, too."""

from collections.abc import Mapping
from dataclasses import dataclass

from secondlook.core.url.expression import Suffixes
from secondlook.ground.errors import PatternError, SecondLookError, ServiceError
from secondlook.server.administration import Listed, asked_of, listed_of
from secondlook.server.publish.generation import Generation
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.server.valkey.reader import ValkeyReader
from secondlook.wire import safebrowsing_pb2 as pb


@dataclass(frozen=True, slots=True)
class InValkey:
    """What a store serves; `holds`: all of it is there; `trouble` is what is wrong, in words."""

    holds: bool
    trouble: str | None
    generation: int | None = None
    created_at: float | None = None
    lists: Mapping[str, int] | None = None
    key: str | None = None


async def look(url: str, own: Generation | None) -> InValkey:
    """Look at a store; `own` is the generation of this machine's folder, if it has one. Never raises."""
    reader, publisher = ValkeyReader(url), ValkeyPublisher(url)
    try:
        number = own.number if own else None
        if await publisher.lost(number):
            what = "holds no generation" if number is None else f"does not hold generation {number:06d}"
            return InValkey(False, f"the Valkey store {what}; a running publisher loads what it has")
        await reader.refresh()
        missing = await publisher.missing(own) if own and own.number == reader.number else 0
        trouble = None
        if missing:
            trouble = f"the Valkey store lost {missing:,} parts of it; a running publisher puts them back"
        elif own and (other := await publisher.other_publisher(own)):
            trouble = other
        elif own and reader.number is not None and own.number > reader.number:
            trouble = (
                f"the Valkey store has not taken generation {own.number:06d} and serves {reader.number:06d}: "
                "it is being loaded, or the publisher's log shows why it cannot be"
            )
        elif eviction := await publisher.eviction():
            trouble = f"the Valkey store can lose entries: {eviction}"
        counts = {name: entry.count for name, entry in reader.lists.items()}
        return InValkey(not missing, trouble, reader.number, reader.created_at, counts, reader.key)
    except SecondLookError as error:
        return InValkey(False, str(error))
    finally:
        await publisher.aclose()
        await reader.aclose()


async def check(url: str, subject: str, *, suffixes: Suffixes) -> list[Listed]:
    """Return how the served generation lists a URL, host or digest; empty when it does not.

    Raises ValueError for a subject that is none, PatternError when nothing can be read.
    """
    asked = asked_of(subject, suffixes)
    reader = ValkeyReader(url)
    try:
        await reader.refresh()
        packed, _ = await reader.search([full_hash[:4] for full_hash in asked])
    except ServiceError as error:
        raise PatternError(str(error)) from error
    finally:
        await reader.aclose()
    found = pb.SearchHashesResponse.FromString(packed).full_hashes
    return [each for one in found if one.full_hash in asked for each in listed_of(one, asked[one.full_hash])]
