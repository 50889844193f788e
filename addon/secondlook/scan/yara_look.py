"""Looking into one file, and into what lies in it, with YARA-X: in a child process, within its bounds.

Rules come compiled, from a file; without one our own are compiled, which takes milliseconds. What a rule is
worth stands in its metadata (`core/scan.py`).
"""

import io
import math
import time
from pathlib import Path
from typing import IO, Any

from secondlook.core.scan import MOST_DETECTIONS, Detection, from_yara
from secondlook.core.verdict import SEVERITY

OWN_RULES = Path(__file__).with_name("own.yar")
_IN_MEMORY_BYTES = 4 << 20
_FEWEST_SECONDS = 1  # YARA-X counts whole ones


class Looker:
    """The rules that a process has loaded last."""

    def __init__(self) -> None:
        self._loaded: str | None = None
        self._scanner: Any = None

    def begin(self, rules: str | None, *, time_s: float, max_bytes: int) -> "YaraLook":
        """Begin to look into a file with the compiled rules of that path, with our own where it is None."""
        self.load(rules)
        return YaraLook(self._scanner, time_s=time_s, max_bytes=max_bytes)

    def load(self, rules: str | None) -> None:
        """Load rules, if others are; thousands take seconds."""
        name = rules or str(OWN_RULES)
        if self._loaded != name:
            self._loaded = self._scanner = None
            self._scanner = _load(rules)
            self._loaded = name


def _load(rules: str | None) -> Any:
    import yara_x  # noqa: PLC0415 - large, and only the process that looks needs it

    if rules is None:
        return yara_x.Scanner(yara_x.compile(OWN_RULES.read_text("utf-8")))
    with Path(rules).open("rb") as file:
        return yara_x.Scanner(yara_x.Rules.deserialize_from(file))


class YaraLook:
    """What the rules find in one file; `fault` is why it was not looked into all of it."""

    def __init__(self, scanner: Any, *, time_s: float, max_bytes: int) -> None:
        self.detections: list[Detection] = []
        self.fault: str | None = None
        self.spent_s = 0.0
        self._scanner = scanner
        self._time_s = time_s
        self._max_bytes = max_bytes
        self._known: set[tuple[str, str | None]] = set()

    def at(self, file: IO[bytes], member: str | None = None) -> float:
        """Look into a file, or into a member of it; return the seconds that took. Never raises."""
        if self.fault is not None:
            return 0.0
        started = time.monotonic()
        try:
            self._look(file, member)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody has looked into that
            self.fault = self._reason(error)
        took_s = time.monotonic() - started
        self.spent_s += took_s
        return took_s

    def _look(self, file: IO[bytes], member: str | None) -> None:
        size = file.seek(0, io.SEEK_END)
        if size > self._max_bytes:
            self.fault = f"larger than {self._max_bytes} bytes"
            return
        left_s = self._time_s - self.spent_s
        if left_s <= 0:
            self.fault = f"longer than {self._time_s:g} s"
            return
        self._scanner.set_timeout(max(_FEWEST_SECONDS, math.ceil(left_s)))
        file.seek(0)
        if size <= _IN_MEMORY_BYTES:
            found = self._scanner.scan(file.read())
        else:
            file.flush()
            found = self._scanner.scan_file(f"/dev/fd/{file.fileno()}")
        for rule in found.matching_rules:
            key = (rule.identifier, member)
            if key not in self._known:
                self._keep(key, from_yara(rule.identifier, dict(rule.metadata), rule.tags, member=member))

    def _keep(self, key: tuple[str, str | None], detection: Detection) -> None:
        """Keep a detection: where there is no room left, in the place of the mildest, if that is milder."""
        if len(self.detections) < MOST_DETECTIONS:
            self.detections.append(detection)
        else:
            mildest = max(range(MOST_DETECTIONS), key=lambda place: SEVERITY[self.detections[place].risk])
            if SEVERITY[detection.risk] >= SEVERITY[self.detections[mildest].risk]:
                return
            self.detections[mildest] = detection
        self._known.add(key)

    def _reason(self, error: Exception) -> str:
        if type(error).__name__ == "TimeoutError":
            return f"longer than {self._time_s:g} s"
        return f"{type(error).__name__}: {error}"[:200]
