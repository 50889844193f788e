"""Lists that become smaller: by accident (refused), or because a feed was switched off (meant).

What a feed that is off had in the last generation is not missed. Agents hold back lists that shrink too, and
cannot see why: a list that lost what such feeds had names that reduction, signed, until there is another one.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from secondlook.config.service import PublishSettings
from secondlook.core.lists.name import Role
from secondlook.ground.errors import PatternError
from secondlook.server.publish.generation import Generation, PublishedList, Reduction
from secondlook.wire.signature import sign_reduction


@dataclass(frozen=True, slots=True)
class Gone:
    """What a generation had of feeds whose lists are out of force now, by list, as entries.

    `entries` is the most that can be missing now: others may list some of them too. `others` is what the
    largest of the other sources had, which has to be there still.
    """

    entries: Mapping[str, int]
    others: Mapping[str, int]

    def left_of(self, before: PublishedList) -> int:
        """Return how many entries of a list have at least to be left."""
        fewest = before.count - self.entries.get(before.name, 0)
        return max(fewest, min(before.count, self.others.get(before.name, 0)))


def switched_off(previous: Generation | None, off: Collection[str], lists: Mapping[str, str]) -> Gone:
    """Return what a generation had of feeds that are off, or whose `lists` (by feed, now) is another."""
    gone: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for source in previous.manifest["sources"] if previous is not None else ():
        name = source["name"]
        if source["kind"] == "feed" and (name in off or lists.get(name, source["list"]) != source["list"]):
            gone.update(source["counts"])
        else:
            others |= Counter(source["counts"])
    return Gone(dict(gone), dict(others))


def check_shrink(
    previous: Generation, counts: Mapping[str, int], gone: Gone, settings: PublishSettings
) -> None:
    """Raise PatternError where a list loses too much beside what is `gone` on purpose."""
    for name, before in previous.lists.items():
        if before.facts.role is Role.QUERY:
            continue  # derived: its source says it all
        had, count = gone.left_of(before), counts.get(name, 0)
        if had >= settings.shrink_from and count < had * settings.shrink:
            raise PatternError(
                f"not published: {name} would shrink from {had} entries to {count} "
                "(publish with --accept-shrink if that is right)"
            )


def with_reduction(
    entry: PublishedList,
    before: PublishedList | None,
    gone: Gone,
    number: int,
    key: Ed25519PrivateKey,
) -> PublishedList:
    """Return a list of generation `number` with the last reduction that was meant, this one or an earlier."""
    if before is None:
        return entry
    if not gone.entries.get(entry.name) or entry.count >= before.count:
        return replace(entry, reduction=before.reduction)
    signature = sign_reduction(key, entry.name, number, entry.count)
    return replace(entry, reduction=Reduction(number, entry.count, signature))
