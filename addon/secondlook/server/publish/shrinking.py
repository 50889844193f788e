"""Lists that become smaller: by accident (refused), or because a feed was switched off (meant).

What a feed that is off had in the last generation is not missed. Agents hold back lists that shrink too, and
cannot see why: a list that lost what such feeds had names that reduction, signed, until there is another one.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from secondlook.config import PublishSettings
from secondlook.core.lists.name import Role
from secondlook.ground.errors import PatternError
from secondlook.server.publish.generation import Generation, PublishedList, Reduction
from secondlook.wire.signature import sign_reduction


def switched_off(previous: Generation | None, off: Collection[str]) -> dict[str, int]:
    """Return how many entries by list feeds that are off now had in a generation, at most."""
    gone: Counter[str] = Counter()
    for source in previous.manifest["sources"] if previous is not None else ():
        if source["kind"] == "feed" and source["name"] in off:
            gone.update(source["counts"])
    return dict(gone)


def check_shrink(
    previous: Generation, counts: Mapping[str, int], gone: Mapping[str, int], settings: PublishSettings
) -> None:
    """Raise PatternError where a list loses too much beside what is `gone` on purpose."""
    for name, before in previous.lists.items():
        if before.facts.role is Role.QUERY:
            continue  # derived: its source says it all
        had, count = before.count - gone.get(name, 0), counts.get(name, 0)
        if had >= settings.shrink_from and count < had * settings.shrink:
            raise PatternError(
                f"not published: {name} would shrink from {had} entries to {count} "
                "(publish with --accept-shrink if that is right)"
            )


def with_reduction(
    entry: PublishedList,
    before: PublishedList | None,
    gone: Mapping[str, int],
    number: int,
    key: Ed25519PrivateKey,
) -> PublishedList:
    """Return a list of generation `number` with the last reduction that was meant, this one or an earlier."""
    if before is None:
        return entry
    if not gone.get(entry.name) or entry.count >= before.count:
        return replace(entry, reduction=before.reduction)
    signature = sign_reduction(key, entry.name, number, entry.count)
    return replace(entry, reduction=Reduction(number, entry.count, signature))
