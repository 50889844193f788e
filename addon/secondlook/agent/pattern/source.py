"""Where lists come from: a server that has some, what it has, and when it is looked at next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from secondlook.agent.pattern.members import MIN_WIDTH
from secondlook.core.answer import Tier
from secondlook.core.asking.schedule import GOOGLE_BACKOFF, Backoff
from secondlook.core.digest import known_kinds
from secondlook.core.lists.name import ListName, parse_list_name
from secondlook.wire import safebrowsing_pb2 as pb

GOOGLE_LISTS = ("mw-4b", "se-4b", "uws-4b")
RETRY = Backoff(first_s=30.0, cap_s=3600.0)
GOOGLE_START_S = 60.0  # the first fetch falls somewhere within this, so that clients do not come in step
GOOGLE_LEAST_S = 300.0
GOOGLE_MOST_S = 86_400.0  # whatever an answer says: a wrong one shall not end the updates


class ServerHealth(Protocol):
    """How a server is: the generation that it serves (None: nothing), and what is wrong with it, in words."""

    @property
    def generation(self) -> str | None: ...  # noqa: D102
    @property
    def trouble(self) -> str | None: ...  # noqa: D102


class ListServer(Protocol):
    """What the updater asks of one server; `lookup.client.ServerClient` fits."""

    async def health(self) -> ServerHealth:
        """Return how it is."""

    async def generation(self) -> str | None:
        """Return the generation that is served."""

    async def hash_lists(self) -> list[pb.HashList]:
        """Return every list with its metadata."""

    async def batch_get(self, names: Sequence[str], versions: Sequence[bytes] = ()) -> list[pb.HashList]:
        """Fetch lists, or what changed since the versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSource:
    """A server to take lists from; `announced`: it reports each generation at once."""

    name: str
    tier: Tier
    client: ListServer
    key: Ed25519PublicKey | None = None
    trusted_allow: bool = False
    fresh_for_s: float = 0.0
    announced: bool = False
    google: bool = False
    source: str = ""  # to be credited; default: the name


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """What one look at one server brought: taken lists with their counts, refused ones with their reasons."""

    server: str
    generation: str | None = None
    taken: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def changed(self) -> bool:
        """Whether the pattern is another one now."""
        return bool(self.taken)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A list to be had, with its metadata."""

    meaning: ListName
    canary: bytes | None = None
    digests: tuple[str, ...] = ()
    reduction: pb.Reduction | None = None
    generation: int = 0  # that the server served when it was asked; 0: it does not name any


@dataclass(slots=True)
class UpdateSchedule:
    """When a source is looked at next (monotonic), and how often it failed in a row."""

    due_at: float = 0.0
    failures: int = 0
    refused: bool = False  # it answered the last time, with lists that were refused
    wait_s: float = 0.0  # minimum_wait_duration of the last answer, the longest of its lists

    def plan(self, source: UpdateSource, now: float, poll_s: float, chance: float, *, failed: bool) -> None:
        """Choose when to look again; `chance` in [0, 1) spreads what failed."""
        if not failed:
            self.failures = 0
            # Google's lists are not fetched again before it allows it; own servers are only polled.
            wait_s = min(max(GOOGLE_LEAST_S, self.wait_s), GOOGLE_MOST_S) if source.google else 0.0
            self.due_at = now + max(poll_s, wait_s)
            return
        self.failures += 1
        backoff = GOOGLE_BACKOFF if source.google else RETRY
        self.due_at = now + backoff.delay_s(self.failures, chance)


async def wanted_lists(source: UpdateSource) -> dict[str, Wanted]:
    """Ask which lists there are; those whose entries decide alone, and of Google its own."""
    wanted: dict[str, Wanted] = {}
    if source.google:
        for name in GOOGLE_LISTS:
            meaning = parse_list_name(name)
            assert meaning is not None
            wanted[name] = Wanted(meaning)
        return wanted
    for described in await source.client.hash_lists():
        meaning = parse_list_name(described.name)
        if meaning is None or meaning.width < MIN_WIDTH or not described.metadata.complete:
            continue
        metadata = described.metadata
        reduction = metadata.reduction if metadata.HasField("reduction") else None
        wanted[described.name] = Wanted(
            meaning,
            metadata.canary or None,
            known_kinds(metadata.digest_kinds),
            reduction,
            described.generation,
        )
    return wanted


def served_generation(asked: str, named: Iterable[int]) -> str:
    """Return the generation that lists and their metadata are of; empty where they are of several.

    Behind a load balancer each request may be answered by another replica, and none by the one whose health
    was `asked`. It is that one's where none is `named` (0).
    """
    match sorted(set(named)):
        case [] | [0]:
            return asked
        case [number]:
            return str(number)
        case _:
            return ""
