"""The pattern on disk: immutable list files, and one stamp that names those in force.

```
STATE/pattern/
  current.json      the stamp: lists (file, checksum, server, version …) and the servers they mirror
  confirmed.json    when each server last confirmed that what we hold is what it serves
  past/000041.json  earlier stamps, for rollback
  mw-8b.3f0b067b1a1145c2.slh …   hash lists, named after their bytes, never changed
```

The service writes a list beside, verifies it whole, renames it into place, and then renames a new stamp
over the old one. Workers check header, size, index bounds and the stamp, and map the file: opening ten
million entries takes milliseconds and no private memory. No numpy here: workers import this module.
"""

import json
import mmap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from secondlook.core.answer import Tier
from secondlook.core.digest import known_kinds
from secondlook.core.lists.format import Corrupt
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import parse_list_name
from secondlook.core.lists.pattern import ListInfo, Mirror, Pattern
from secondlook.ground.errors import PatternError
from secondlook.ground.json_text import read_json

FORMAT: Final = 1
FOLDER: Final = "pattern"
STAMP, CONFIRMED, PAST = "current.json", "confirmed.json", "past"
LATELY_S: Final = 7 * 86_400.0  # what a list had within this is what it must not shrink from

type Mark = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedList:
    """One list in force; `sha256` is the checksum of its entries in hex, `version` the server's blob in hex.

    `confirmed_at` in the stamp is when the list came; `confirmed.json` holds later confirmations.
    `verified_at` is when the service read the whole file (Unix seconds, as all instants). `most` is how many
    entries the list had at `most_at`, if more than now: it does not shrink away in small steps.
    """

    name: str
    file: str
    width: int
    count: int
    sha256: str
    tier: str
    server: str
    source: str
    version: str
    generation: str
    confirmed_at: float
    verified_at: float
    complete: bool = False
    trusted_allow: bool = False
    canary: str | None = None
    digests: tuple[str, ...] = ()
    most: int = 0
    most_at: float = 0.0

    def most_lately(self, now: float) -> int:
        """Return the most entries that it had within `LATELY_S`."""
        return max(self.count, self.most if now - self.most_at <= LATELY_S else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedServer:
    """A server whose lists are in force; `whole`: all it serves is here."""

    server: str
    tier: str
    generation: str
    whole: bool
    announced: bool
    fresh_for_s: float
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is in force. `serial` counts up with every change; `held` are versions that a rollback refused."""

    serial: int = 0
    written_at: float = 0.0
    lists: tuple[StampedList, ...] = ()
    servers: tuple[StampedServer, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)  # "server/list" -> version in hex

    @property
    def generation(self) -> str:
        """The generations in force, for people: `12`, or `embedded 12, office 7` where there are several.

        Where a server's lists are not all of one (one was refused, they were rolled back): `11 and 12`.
        """
        if len(self.servers) == 1:
            return self._generation_of(self.servers[0])
        return ", ".join(f"{each.server} {self._generation_of(each)}".strip() for each in self.servers)

    def _generation_of(self, server: StampedServer) -> str:
        generations = {
            each.generation for each in self.lists if each.server == server.server and each.generation
        }
        return (
            " and ".join(sorted(generations, key=lambda number: (len(number), number))) or server.generation
        )

    def to_json(self) -> bytes:
        """Return the file's bytes."""
        raw = {
            "format": FORMAT,
            "serial": self.serial,
            "written_at": self.written_at,
            "generation": self.generation,
            "lists": [asdict(each) for each in self.lists],
            "servers": [asdict(each) for each in self.servers],
            "held": dict(self.held),
        }
        return json.dumps(raw, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read a stamp; Corrupt when it is none."""
        try:
            raw = read_json(data)
            if raw["format"] != FORMAT:
                raise Corrupt(f"the pattern's stamp has format {raw['format']}, this program reads {FORMAT}")
            return cls(
                int(raw["serial"]),
                float(raw["written_at"]),
                tuple(StampedList(**{**each, "digests": tuple(each["digests"])}) for each in raw["lists"]),
                tuple(StampedServer(**each) for each in raw["servers"]),
                {str(key): str(value) for key, value in raw["held"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"the pattern's stamp cannot be read: {error}") from error


def read_stamp(folder: Path) -> Stamp | None:
    """Read the stamp of a pattern folder, None where there is none yet; PatternError when it is damaged."""
    try:
        return Stamp.from_json((folder / STAMP).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PatternError(f"cannot read {folder / STAMP}: {error.strerror}") from error


def read_confirmed(folder: Path) -> dict[str, float]:
    """Read when each server last confirmed what we hold; empty when nobody noted it."""
    try:
        raw: Any = read_json((folder / CONFIRMED).read_bytes())
        return {str(name): float(at) for name, at in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # only costs queries


def open_list(folder: Path, stamped: StampedList) -> HashList:
    """Map one list file and compare its header with the stamp; PatternError when it does not fit."""
    path = folder / stamped.file
    if path.parent != folder:
        raise Corrupt(f"the pattern's stamp names a file outside its folder: {stamped.file}")
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise PatternError(f"cannot open {path}: {error}") from error
    found = HashList.open(mapped)
    if (found.width, found.count, found.checksum.hex()) != (stamped.width, stamped.count, stamped.sha256):
        raise Corrupt(f"{path} is not the list that was verified")
    return found


def list_info(stamped: StampedList, confirmed: Mapping[str, float]) -> ListInfo:
    """Return what the core wants to know about a list; Corrupt for a name without a meaning."""
    meaning = parse_list_name(stamped.name)
    if meaning is None or meaning.width != stamped.width:
        raise Corrupt(f"the pattern has a list without a meaning: {stamped.name!r}")
    return ListInfo(
        name=stamped.name,
        width=stamped.width,
        role=meaning.role,
        kind=meaning.kind,
        threat=meaning.threat,
        risk=meaning.risk,
        tier=Tier(stamped.tier),
        server=stamped.server,
        source=stamped.source,
        complete=stamped.complete,
        trusted_allow=stamped.trusted_allow,
        generation=stamped.generation,
        confirmed_at=max(stamped.confirmed_at, confirmed.get(stamped.server, 0.0)),
        digest_kinds=known_kinds(stamped.digests) or ("sha256",),
    )


class PatternFolder:
    """A reader of the pattern folder that keeps what it has opened."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / FOLDER
        self.faults: tuple[str, ...] = ()  # lists of the last loading that could not be used
        self._open: dict[str, tuple[Mark | None, HashList]] = {}

    def load(self) -> Pattern:
        """Load what the stamp names. A list that does not fit its stamp is left out and named in `faults`."""
        stamp = read_stamp(self.folder)
        if stamp is None:
            self.faults = ()
            return Pattern()
        confirmed = read_confirmed(self.folder)
        opened: dict[str, tuple[Mark | None, HashList]] = {}
        lists: list[tuple[ListInfo, HashList]] = []
        faults: list[str] = []
        broken: set[str] = set()
        for stamped in stamp.lists:
            try:
                info = list_info(stamped, confirmed)
                _, table = opened[stamped.file] = self._opened(stamped)
            except PatternError as error:
                faults.append(f"{stamped.name}: {error}")
                broken.add(stamped.server)
                continue
            lists.append((info, table))
        self._open, self.faults = opened, tuple(faults)
        mirrors = [
            Mirror(
                server=each.server,
                tier=Tier(each.tier),
                whole=each.whole and each.server not in broken,
                confirmed_at=max(each.confirmed_at, confirmed.get(each.server, 0.0)),
                announced=each.announced,
                fresh_for_s=each.fresh_for_s,
            )
            for each in stamp.servers
        ]
        return Pattern(lists, mirrors, stamp.generation)

    def _opened(self, stamped: StampedList) -> tuple[Mark | None, HashList]:
        """Return what is open already, unless another file has its name: a damaged list was fetched again."""
        mark = mark_of(self.folder / stamped.file)
        known = self._open.get(stamped.file)
        if known is not None and mark in {None, known[0]}:
            return known
        return mark, open_list(self.folder, stamped)


def load_pattern(state_dir: Path) -> Pattern:
    """Load the pattern in force from a state folder; empty where there is none. Raise PatternError."""
    return PatternFolder(state_dir).load()


def mark_of(path: Path) -> Mark | None:
    """Return what differs when another file is in a file's place; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
