"""Keeps the rules in force up to date with their files: compiled when one changed, refused whole, or kept.

```
files changed ─► compiled in a child ─┬─ good ─► rules-VERSION.yarc ─► rules.json renamed into place
                                      └─ wrong ─► last good stays; reported with file and line
no files ──────► rules.json goes: our own are in force
```

Nothing is compiled twice: a file that was refused is tried again when it changes. Where it is not the rules
that are wrong (a full disk, a child that was killed) they are tried again by themselves, ever less often.

The last few compiled sets stay, and `rules.json` knows how many rules each has: who goes back to the files of
one of them, as a rollback does, has it in force at once. Files are looked at now and then, and within a
second where another process has changed them and asks for it (`ask_for_look`).
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from secondlook.ground.children import ChildFailedError
from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.lanes import LISTS
from secondlook.ground.tasks import woken
from secondlook.scan.compiling import RuleSource, compile_in_child
from secondlook.scan.rule_set import FOLDER, NAME, VERSION_CHARS, engine_version
from secondlook.scan.yara_look import OWN_RULES

logger = logging.getLogger(__name__)

ENDINGS = frozenset({".yar", ".yara"})
MOST_FILES = 10_000
LOOK_EVERY_S = 30.0
ASKED_EVERY_S = 1.0
REFUSED = "refused.json"
ASKED = "look"  # a file that is written anew by whoever wants a look
_KEPT = 3  # compiled sets
_MOST_PASSED_OVER = 120  # looks, an hour of them, between two tries of what failed


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What a look at the files came to; `error` is why the last good rules stay."""

    version: str | None = None
    count: int = 0
    error: str | None = None


class RuleKeeper:
    """One in an installation; `on_change` hears of new rules in force and of refused ones."""

    def __init__(
        self,
        state: Path,
        given: Callable[[], Sequence[RuleSource]],
        now: Callable[[], float],
        on_change: Callable[[RuleChange], None],
    ) -> None:
        self._folder = state / FOLDER
        self._given = given
        self._now = now
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._seen: object = None  # the files of which all is known
        self._failing: object = None  # those that could not be compiled
        self._passed_over = 0  # looks at them since the last try
        self._pass_over = 0
        self._version: str | None = None
        self._count = 0
        self._error: str | None = None
        self._looked_for: int | None = None  # when another process asked last

    def trigger(self) -> None:
        """Look at the files soon."""
        self._wake.set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                logger.exception("the rules could not be looked after")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._asked()
            self._wake.clear()

    async def _asked(self) -> None:
        """Wait until somebody wants a look, here or in another process."""
        while not self._wake.is_set():
            asked = await LISTS.run(self._asked_at)
            if asked != self._looked_for:
                self._looked_for = asked
                return
            await woken(self._wake, ASKED_EVERY_S)

    def _asked_at(self) -> int | None:
        try:
            return (self._folder / ASKED).stat().st_mtime_ns
        except OSError:
            return None

    async def look(self) -> RuleChange | None:
        """Bring the rules up to date; None where nothing changed."""
        try:
            sources, seen = await LISTS.run(self._sources)
        except PatternError as error:
            self._seen = None
            return self._refused(str(error))
        if seen == self._seen or self._waits_with(seen):
            return None
        try:
            change = await self._brought_up(sources)
        except ChildFailedError as error:
            return self._failed(seen, str(error))
        except OSError as error:
            return self._failed(seen, f"the rules cannot be put in force: {error.strerror or error}")
        except PatternError as error:
            change = self._refused(str(error))
        self._seen, self._failing = seen, None
        return change

    def _waits_with(self, seen: object) -> bool:
        """Return whether files that could not be compiled are left alone this time."""
        if seen != self._failing:
            return False
        self._passed_over += 1
        return self._passed_over <= self._pass_over

    def _failed(self, seen: object, error: str) -> RuleChange | None:
        """Try the same files again: at the next look but one first, then after twice as many each time."""
        again = seen == self._failing
        self._pass_over = min(2 * self._pass_over, _MOST_PASSED_OVER) if again else 1
        self._failing, self._passed_over, self._seen = seen, 0, None
        return self._refused(error)

    async def _brought_up(self, sources: Sequence[RuleSource]) -> RuleChange | None:
        """Put the rules of these files in force; None where they are."""
        if not sources:
            return await LISTS.run(self._withdraw)
        version = await LISTS.run(version_of, sources)
        if version == self._version and self._error is None:
            return None
        if version != self._version:
            path = self._folder / f"rules-{version}.yarc"
            count = await self._compiled(sources, path)
            await LISTS.run(self._put_in_force, path, version, count)
            self._version, self._count = version, count
        else:  # what was refused meanwhile has gone again
            await LISTS.run((self._folder / REFUSED).unlink, missing_ok=True)
        self._error = None
        change = RuleChange(version, self._count)
        self._on_change(change)
        return change

    async def _compiled(self, sources: Sequence[RuleSource], path: Path) -> int:
        known = await LISTS.run(self._compiled_before, path)
        return known if known is not None else await compile_in_child(sources, path)

    def _compiled_before(self, path: Path) -> int | None:
        """Return how many rules there are in what was compiled of the same files, by the last service too."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._counts().get(path.name) if path.exists() else None

    def _counts(self) -> dict[str, int]:
        """Return how many rules each compiled set has."""
        last = self._last()
        kept = last.get("kept")
        counts = kept if isinstance(kept, dict) else {last.get("file"): last.get("count")}
        return {str(name): count for name, count in counts.items() if isinstance(count, int)}

    def _last(self) -> dict[str, object]:
        try:
            facts = read_json((self._folder / NAME).read_bytes())
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) and facts.get("engine") == engine_version() else {}

    def _sources(self) -> tuple[list[RuleSource], object]:
        sources: list[RuleSource] = []
        for given in self._given():
            sources += _files_of(given)
            if len(sources) > MOST_FILES:
                raise PatternError(f"{given.name}: more than {MOST_FILES} files of rules")
        seen = []
        for source in sources:
            with contextlib.suppress(OSError):
                status = source.path.stat()
                seen.append((source.path, status.st_mtime_ns, status.st_size, status.st_ino))
        return sources, seen or tuple(source.path for source in sources)

    def _put_in_force(self, path: Path, version: str, count: int) -> None:
        path.touch()  # the sets that were in force last stay
        compiled = sorted(self._folder.glob("rules-*.yarc"), key=lambda each: each.stat().st_mtime)
        olds = [each for each in compiled[:-_KEPT] if each != path]
        counts = {**self._counts(), path.name: count}
        facts = {
            "file": path.name,
            "version": version,
            "engine": engine_version(),
            "count": count,
            "compiled_at": self._now(),
            "kept": {
                each.name: counts[each.name] for each in compiled if each.name in counts and each not in olds
            },
        }
        if self._last().get("version") != version:
            write_whole(self._folder / NAME, json.dumps(facts).encode())
        (self._folder / REFUSED).unlink(missing_ok=True)
        for old in olds:
            old.unlink(missing_ok=True)

    def _withdraw(self) -> RuleChange | None:
        (self._folder / REFUSED).unlink(missing_ok=True)
        self._error = None
        if not (self._folder / NAME).exists():
            return None
        (self._folder / NAME).unlink()
        self._version = None
        return RuleChange()

    def _refused(self, error: str) -> RuleChange | None:
        """Write down why the last good rules stay; None where that is known already."""
        if error == self._error:
            return None
        logger.warning("YARA rules are refused, the last good ones stay: %s", error)
        facts = {"error": error, "at": self._now()}
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._folder / REFUSED, json.dumps(facts).encode())
        change = RuleChange(error=error)
        self._error = error
        self._on_change(change)
        return change


def ask_for_look(state: Path) -> None:
    """Have the keeper of an installation look at the files soon, if one runs. Raises OSError."""
    if (state / FOLDER).is_dir():  # else nobody has ever looked after rules there
        write_whole(state / FOLDER / ASKED, b"")


def refused(state: Path) -> str | None:
    """Return why the rules of the configuration are not in force; None where they are."""
    try:
        return str(read_json((state / FOLDER / REFUSED).read_bytes())["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def version_of(sources: Sequence[RuleSource]) -> str:
    """Name rules by the content of their files, our own among them, and the engine."""
    digest = sha256(engine_version().encode())
    for source in (RuleSource("own", OWN_RULES), *sources):
        try:
            with source.path.open("rb") as file:
                digest.update(file_digest(file, "sha256").digest())
        except OSError:
            digest.update(b"missing")
    return digest.hexdigest()[:VERSION_CHARS]


def _files_of(given: RuleSource) -> Iterator[RuleSource]:
    """Yield a file itself, or the rules below a folder, in the order of their names."""
    if not given.path.is_dir():
        yield given
        return
    for path in sorted(given.path.rglob("*")):
        if path.suffix.lower() in ENDINGS and path.is_file():
            yield RuleSource(f"{given.name}/{path.relative_to(given.path)}", path)
