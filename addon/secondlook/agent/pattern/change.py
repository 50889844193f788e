"""Changing what is in force: stamps, their past, whole verification, rollback."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from secondlook.agent.pattern.alerts import read_alerts
from secondlook.agent.pattern.files import (
    FOLDER,
    PAST,
    STAMP,
    Stamp,
    StampedList,
    open_list,
    read_confirmed,
    read_stamp,
)
from secondlook.core.answer import Tier
from secondlook.core.lists.format import Corrupt
from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.ground.lock import locked
from secondlook.ground.program_name import typed

type Title = Callable[[str], str]
"""Gives what people call a list, by its name."""
_LIST_FILE = re.compile(r"[a-z0-9-]+\.[0-9a-f]{16}\.slh")


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: the service's updater and the command line take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        yield


def put_stamp(folder: Path, stamp: Stamp, *, now: float, keep: int) -> Stamp:
    """Make a stamp the one in force and the one before it the newest of the past; holds the lock already.

    List files that no kept stamp names are removed.
    """
    past = folder / PAST
    past.mkdir(exist_ok=True)
    before = folder / STAMP
    previous: Stamp | None = None
    with suppress(FileNotFoundError, PatternError):
        data = before.read_bytes()
        previous = Stamp.from_json(data)
        if _contents(previous) != _contents(stamp):  # the same lists again are no step to go back to
            write_whole(past / f"{previous.serial:06d}.json", data)
    numbers = [int(path.stem) for path in past.glob("*.json") if path.stem.isdecimal()]
    stamp = replace(stamp, serial=max([*numbers, previous.serial if previous else 0]) + 1, written_at=now)
    write_whole(before, stamp.to_json())
    for path in sorted(past.glob("*.json"))[:-keep]:
        path.unlink(missing_ok=True)
    _sweep(folder, stamp)
    return stamp


def _contents(stamp: Stamp) -> dict[tuple[str, str], str]:
    return {(each.tier, each.name): each.sha256 for each in stamp.lists}


def of_tiers(stamp: Stamp, tiers: Collection[Tier]) -> Stamp:
    """Return what a stamp has of the servers of these tiers."""
    names = {tier.value for tier in tiers}
    return replace(
        stamp,
        lists=tuple(each for each in stamp.lists if each.tier in names),
        servers=tuple(each for each in stamp.servers if each.tier in names),
    )


def _sweep(folder: Path, stamp: Stamp) -> None:
    wanted = {each.file for each in stamp.lists}
    for path in (folder / PAST).glob("*.json"):
        try:
            wanted |= {each.file for each in Stamp.from_json(path.read_bytes()).lists}
        except PatternError:
            path.unlink(missing_ok=True)
    for path in folder.iterdir():
        if _LIST_FILE.fullmatch(path.name) and path.name not in wanted:
            path.unlink(missing_ok=True)


def set_damaged_stamp_aside(folder: Path) -> str | None:
    """Rename a stamp that cannot be read, so that all is fetched again. Return what was wrong with it."""
    if not (folder / STAMP).exists():
        return None
    with folder_lock(folder):
        try:
            read_stamp(folder)
        except Corrupt as error:
            (folder / STAMP).replace(folder / f"{STAMP}.damaged")
            return str(error)
    return None


def has_broken(folder: Path) -> bool:
    """Return whether a list in force is gone or cut: soon seen, as only its size and head are looked at."""
    try:
        stamp = read_stamp(folder)
        for stamped in stamp.lists if stamp else ():
            open_list(folder, stamped)
    except PatternError:
        return True
    return False


def verify_folder(folder: Path) -> dict[StampedList, str]:
    """Read every list in force whole. Return the reason for each that is damaged. Raise PatternError."""
    stamp = read_stamp(folder)
    faults: dict[StampedList, str] = {}
    for stamped in stamp.lists if stamp else ():
        try:
            table = open_list(folder, stamped)
            table.verify()
        except PatternError as error:
            faults[stamped] = str(error)
            continue
        if stamped.canary and not table.has(bytes.fromhex(stamped.canary)):
            faults[stamped] = "it does not hold its canary"
    return faults


@dataclass(frozen=True, slots=True)
class ListStatus:
    """One list as `pattern status` shows it; `age_s` is the time since its server last confirmed it."""

    name: str
    entries: int
    generation: str
    tier: str
    server: str
    age_s: float
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PatternStatus:
    """What `pattern status` shows."""

    generation: str
    serial: int
    written_at: float | None
    lists: tuple[ListStatus, ...]
    alerts: tuple[str, ...]

    @property
    def entries(self) -> int:
        """How many entries all lists hold together."""
        return sum(each.entries for each in self.lists)


def status(state_dir: Path, *, now: float, title: Title = str) -> PatternStatus:
    """Return what is in force in a state folder. Raise PatternError when the stamp is damaged.

    `title` gives what people call a list, for messages.
    """
    folder = state_dir / FOLDER
    stamp = read_stamp(folder)
    confirmed = read_confirmed(folder)
    alerts = alerts_of(folder, stamp, title)
    if stamp is None:
        return PatternStatus("", 0, None, (), alerts)

    def status_of(each: StampedList) -> ListStatus:
        at = max(each.confirmed_at, confirmed.get(each.server, 0.0))
        return ListStatus(
            each.name, each.count, each.generation, each.tier, each.server, now - at, each.file, each.sha256
        )

    return PatternStatus(
        stamp.generation, stamp.serial, stamp.written_at, tuple(map(status_of, stamp.lists)), alerts
    )


def alerts_of(folder: Path, stamp: Stamp | None, title: Title = str) -> tuple[str, ...]:
    """Return what is wrong with the pattern, and that it was rolled back, in sentences."""
    rolled_back = held_text(stamp, title) if stamp is not None else None
    return (*read_alerts(folder).values(), *([rolled_back] if rolled_back else []))


def held_text(stamp: Stamp, title: Title = str) -> str | None:
    """Return that there was a rollback, which lists it keeps, and the way forward; None: it keeps none."""
    kept = kept_text(stamp, title)
    return None if kept is None else f"the pattern was rolled back: {kept}"


def kept_text(stamp: Stamp, title: Title = str) -> str | None:
    """Return which lists a rollback keeps as they were, and the way forward; None: it keeps none."""
    if not stamp.held:
        return None
    servers: dict[str, list[str]] = {}
    for key in sorted(stamp.held):
        server, _, name = key.rpartition("/")
        servers.setdefault(server, []).append(title(name))
    kept = "; ".join(f"{', '.join(names)} of {server}" for server, names in servers.items())
    return (
        f"older lists stay in force ({kept}) until there is a newer version than the one that was given up; "
        f"`{typed('pattern update --force')}` takes that one after all"
    )


def forget_rollback(state_dir: Path, *, now: float, keep: int) -> bool:
    """Let the next update take what a rollback gave up; False where nothing was."""
    folder = state_dir / FOLDER
    with folder_lock(folder):
        stamp = read_stamp(folder)
        if stamp is None or not stamp.held:
            return False
        # With its generation unsaid a server is asked for all it has, also for what was passed over.
        servers = tuple(replace(each, generation="", whole=False) for each in stamp.servers)
        put_stamp(folder, replace(stamp, servers=servers, held={}), now=now, keep=keep)
        return True


def verify(state_dir: Path) -> dict[StampedList, str]:
    """Read every list of a state folder whole. Return the reason for each that is damaged."""
    return verify_folder(state_dir / FOLDER)


def rollback(state_dir: Path, *, now: float, keep: int) -> Stamp:
    """Put the stamp before this one back in force, until a server offers another version of its lists.

    Raise PatternError when there is no earlier one whose lists are all in order.
    """
    folder = state_dir / FOLDER
    with folder_lock(folder):
        current = read_stamp(folder)
        if current is None:
            raise PatternError("there is no pattern to roll back")
        given_up = {f"{each.server}/{each.name}": each.version for each in current.lists} | dict(current.held)
        for stamp in _before(current, _past(folder)):
            try:
                for stamped in stamp.lists:
                    open_list(folder, stamped).verify()
            except PatternError:
                continue
            kept = {(f"{each.server}/{each.name}", each.version) for each in stamp.lists}
            held = dict(given_up.items() - kept)
            servers = tuple(replace(each, generation="", whole=False) for each in stamp.servers)
            restored = replace(stamp, servers=servers, held={**stamp.held, **held})
            return put_stamp(folder, restored, now=now, keep=keep)
    raise PatternError("there is no earlier pattern whose lists are in order")


def _past(folder: Path) -> list[Stamp]:
    """Read the stamps before the one in force, newest first, without what cannot be read."""
    found = []
    for path in sorted((folder / PAST).glob("*.json"), reverse=True):
        with suppress(PatternError):
            found.append(Stamp.from_json(path.read_bytes()))
    return found


def _before(current: Stamp, past: Sequence[Stamp]) -> list[Stamp]:
    """Return which of the past can be gone back to: after a rollback, what is older than what it restored.

    Of a tier that has no server any more lists would be given up again at once: they make no difference.
    """
    tiers = {each.tier for each in current.servers}

    def contents(stamp: Stamp) -> dict[tuple[str, str], str]:
        return {key: each for key, each in _contents(stamp).items() if not tiers or key[0] in tiers}

    same = [at for at, each in enumerate(past) if contents(each) == contents(current)]
    first = same[0] + 1 if current.held and same else 0
    return [each for each in past[first:] if contents(each) != contents(current)]
