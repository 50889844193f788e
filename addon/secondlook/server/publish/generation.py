"""A published generation as it is read: its manifest, its table, its lists.

A generation is a folder of immutable files. The manifest names every file with size and SHA-256, so that a
replica can fetch them from any web server and know that it has all of them.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from secondlook.core.lists.name import ListName, parse_list_name
from secondlook.ground.errors import PatternError
from secondlook.ground.json_text import read_json
from secondlook.server.publish.table import Table, map_file
from secondlook.server.store.store import ServerStore
from secondlook.wire.version import TAG_BYTES, ListVersion

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
FORMAT = 1
MOST = 1 << 63  # in a message


@dataclass(frozen=True, slots=True)
class Reduction:
    """A list was made smaller on purpose: the first generation that is smaller, and its entries."""

    generation: int
    count: int
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedList:
    """One list of a generation; `since` is the generation in which its bytes last changed.

    `reduction` is the last one that was meant, whatever came after it.
    """

    name: str
    count: int
    checksum: bytes
    since: int
    canary: bytes | None = None
    complete: bool = True
    digests: tuple[str, ...] = ()
    signature: bytes | None = None
    reduction: Reduction | None = None

    @property
    def facts(self) -> ListName:
        """Return the parts of the name."""
        found = parse_list_name(self.name)
        if found is None:
            raise PatternError(f"a generation has a list of unknown meaning: {self.name!r}")
        return found

    @property
    def version(self) -> bytes:
        """The version blob that clients send back."""
        return ListVersion(self.name, self.since, self.checksum[:TAG_BYTES]).encode()

    def to_json(self) -> dict[str, Any]:
        """Return the plain values that `from_json` reads."""
        reduced = self.reduction
        return {
            "count": self.count,
            "checksum": self.checksum.hex(),
            "since": self.since,
            "canary": self.canary.hex() if self.canary else None,
            "complete": self.complete,
            "digests": list(self.digests),
            "signature": self.signature.hex() if self.signature else None,
            "reduction": None
            if reduced is None
            else [reduced.generation, reduced.count, reduced.signature.hex()],
        }

    @classmethod
    def from_json(cls, name: str, raw: dict[str, Any]) -> Self:
        """Read what `to_json` gave, or one of an earlier version."""
        reduced = raw.get("reduction")
        return cls(
            name=name,
            count=_whole(raw["count"]),
            checksum=bytes.fromhex(raw["checksum"]),
            since=_whole(raw["since"]),
            canary=bytes.fromhex(raw["canary"]) if raw["canary"] else None,
            complete=raw["complete"],
            digests=tuple(raw["digests"]),
            signature=bytes.fromhex(raw["signature"]) if raw["signature"] else None,
            reduction=_reduction(*reduced) if reduced else None,
        )


def _reduction(generation: int, count: int, signature: str) -> Reduction:
    """Return what three plain values stand for; raises TypeError or ValueError where they do not."""
    return Reduction(_whole(generation), _whole(count), bytes.fromhex(signature))


def _whole(value: object) -> int:
    """Return a number that an answer can hold; ValueError for anything else."""
    if not isinstance(value, int) or not 0 <= value < MOST:
        raise ValueError(f"expected a whole number, not {str(value)[:40]}")
    return value


class Generation:
    """One generation on disk; the table is mapped when it is first searched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.manifest: dict[str, Any] = read_json((folder / MANIFEST).read_bytes())
            if self.manifest["format"] != FORMAT:
                raise PatternError(
                    f"the generation in {folder} has format {self.manifest['format']}, not {FORMAT}"
                )
            self.number = _whole(self.manifest["number"])
            self.created_at: float = self.manifest["created_at"]
            self.entries: int = self.manifest["entries"]
            self.lists = {
                name: PublishedList.from_json(name, raw) for name, raw in self.manifest["lists"].items()
            }
            files = self.manifest["files"]
            for name, about in files.items():
                if (folder / name).stat().st_size != about["size"]:
                    raise PatternError(f"{folder / name} is not as long as its manifest says")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PatternError(f"cannot open the generation in {folder}: {error}") from error

    @cached_property
    def table(self) -> Table:
        """The full table."""
        return Table(self.folder)

    def raw(self, name: str) -> memoryview:
        """Map the sorted entries of a list."""
        return map_file(self.folder / f"{name}.raw")

    def verify(self) -> None:
        """Read every file against the manifest; PatternError names the first that differs."""
        for name, about in self.manifest["files"].items():
            if digest_of(self.folder / name) != about["sha256"]:
                raise PatternError(f"{self.folder / name} does not match its checksum")


def mend_current(store: ServerStore) -> str | None:
    """Have the latest generation that can be opened served where the one that was cannot, or is not named.

    Returns what was done. With none left the next publication begins anew.
    """
    try:
        number = store.current()
        if number is None and not store.generations():
            return None
        fault = f"{store.root / 'current'} is missing"
        if number is not None:
            Generation(store.generation_folder(number))
            return None
    except PatternError as error:
        fault = str(error)
    for kept in reversed([each for each in store.generations() if each not in store.rolled_back()]):
        with suppress(PatternError):
            Generation(store.generation_folder(kept))
            store.set_current(kept)
            return f"{fault}; generation {kept} is served"
    (store.root / "current").unlink(missing_ok=True)
    return f"{fault}; there is no other generation"


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
