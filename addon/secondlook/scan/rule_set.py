"""The YARA rules in force, as the processes of an installation share them: a compiled file and its name.

`rules.json` names its file and is renamed into place last; who has the old one open goes on with it.
Without it our own rules are in force, which every process compiles by itself.
"""

import logging
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from secondlook.config.extra import has
from secondlook.ground.json_text import read_json
from secondlook.scan.yara_look import OWN_RULES

logger = logging.getLogger(__name__)

FOLDER = "scan"
NAME = "rules.json"
VERSION_CHARS = 16


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Compiled rules: where they are (None: our own), what they are called, and how many there are."""

    path: Path | None
    version: str
    count: int
    compiled_at: float | None = None


@cache
def engine_version() -> str:
    """Return the version of YARA-X, of which compiled rules are; empty where it is not installed."""
    return version("yara-x") if has("yara") else ""


@cache
def own_rules() -> RuleSet:
    """Return our own rules."""
    text = OWN_RULES.read_bytes()
    return RuleSet(None, name_of([text]), text.count(b"\nrule "))


def name_of(texts: list[bytes]) -> str:
    """Name rules by their sources and the engine that compiled them."""
    digest = sha256(engine_version().encode())
    for text in texts:
        digest.update(len(text).to_bytes(8) + text)
    return digest.hexdigest()[:VERSION_CHARS]


class RulesInForce:
    """Follows `rules.json`; a look at a file's times each time it is asked."""

    def __init__(self, state: Path) -> None:
        self._file = state / FOLDER / NAME
        self._seen: tuple[int, int] | None = None
        self._current: RuleSet | None = None

    @property
    def current(self) -> RuleSet | None:
        """The compiled rules; None where nobody has compiled any."""
        try:
            status = self._file.stat()
        except OSError:
            self._seen = self._current = None
            return None
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            self._seen, self._current = seen, self._read()
        return self._current

    def _read(self) -> RuleSet | None:
        try:
            noted = read_json(self._file.read_bytes())
            if noted["engine"] != engine_version():
                return None
            path = self._file.parent / Path(noted["file"]).name
            return RuleSet(path, noted["version"], int(noted["count"]), float(noted["compiled_at"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("the compiled rules in %s cannot be used: %r", self._file, error)
            return None
