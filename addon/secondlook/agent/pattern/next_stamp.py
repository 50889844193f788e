"""The stamp by which the lists of a server come into force, as a function of values.

A tier has the lists of one server. What was refused stays as it is, whichever server it came from; what the
server names no more goes, unless that was refused. Other tiers are not touched.
"""

from collections.abc import Mapping
from dataclasses import replace

from secondlook.agent.pattern.files import Stamp, StampedList, StampedServer
from secondlook.agent.pattern.list_update import TakenList
from secondlook.agent.pattern.source import UpdateSource, Wanted


def next_stamp(
    stamp: Stamp,
    source: UpdateSource,
    generation: str,
    now: float,
    *,
    about: Mapping[str, Wanted],
    taken: Mapping[str, TakenList],
    refused: Mapping[str, str],
) -> tuple[Stamp, list[tuple[str, str]]]:
    """Return the stamp after a look at a server, and what changed: (list, text for its event).

    `about` are the lists that the server has; of what was neither taken nor refused an operator gave up the
    version that it has. `generation` is empty where that is not known: the next look fetches again.
    """
    tier = source.tier.value
    before = {each.name: each for each in stamp.lists if each.tier == tier}
    lists = [each for each in stamp.lists if each.tier != tier]
    news: list[tuple[str, str]] = []
    for name, each in before.items():
        if name in taken:
            continue
        if name in about or name in refused:
            lists.append(each)
        else:
            news.append((name, f"given up, as the server has it no more (-{each.count})"))
    for name, found in taken.items():
        fresh = _stamped(source, generation, now, name, about[name], found)
        lists.append(_with_most(fresh, before.get(name), found.most, now))
        if found.changed:
            entries = "1 entry" if found.count == 1 else f"{found.count} entries"
            news.append((name, f"{entries} (+{found.added} -{found.removed})"))
    server = StampedServer(
        server=source.name,
        tier=tier,
        # With a list missing the generation stays unsaid, so that the next look tries again.
        generation=generation if not refused else "",
        whole=bool(generation) and not refused and taken.keys() == about.keys(),
        announced=source.announced,
        fresh_for_s=source.fresh_for_s,
        confirmed_at=now,
    )
    others = tuple(each for each in stamp.servers if each.tier != tier)
    # What a rollback gave up is over with once another version is in force.
    given_up = {f"{source.name}/{name}" for name in taken}
    held = {key: version for key, version in stamp.held.items() if key not in given_up}
    return replace(stamp, lists=tuple(lists), servers=(*others, server), held=held), news


def _with_most(fresh: StampedList, before: StampedList | None, most: int, now: float) -> StampedList:
    """Note how many entries a list had until now, or earlier, where it had more than it has."""
    if before is None or most <= fresh.count:
        return fresh
    return replace(fresh, most=most, most_at=before.most_at if before.most == most else now)


def _stamped(
    source: UpdateSource, generation: str, now: float, name: str, wanted: Wanted, found: TakenList
) -> StampedList:
    return StampedList(
        name=name,
        file=found.file,
        width=wanted.meaning.width,
        count=found.count,
        sha256=found.sha256,
        tier=source.tier.value,
        server=source.name,
        source=source.source or source.name,
        version=found.version.hex(),
        generation=str(found.generation or generation),
        confirmed_at=now,
        verified_at=now,
        complete=not source.google,
        trusted_allow=source.trusted_allow,
        canary=wanted.canary.hex() if wanted.canary else None,
        digests=wanted.digests,
    )
