"""What the process beside an attack saw: latencies of a harmless page, and the worker's use of the machine."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from attackkit import watcher

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """The pages and the worker between two moments: milliseconds, MiB (grown: against the first moment), seconds."""

    pages: int
    lost: int  # pages that did not come
    p50: float
    p99: float
    worst: float
    work_p99: float  # processor time of the loop while a page waited
    work_worst: float
    before: float
    grown: float  # at most
    kept: float  # at the end
    processor: float
    descriptors: int

    def facts(self) -> dict[str, float]:
        """As plain data."""
        return asdict(self)


class Watch:
    """The process beside, for one proxy."""

    def __init__(self, address: str, worker: int, login: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, watcher.__file__, address, str(worker), login],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pages: list[tuple[float, float, float, bool]] = []
        self._looks: list[tuple[float, int, float, int]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._memory = Path(f"/proc/{worker}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(watcher.PATIENCE_S + 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            what, *fields = json.loads(line)
            (self._pages if what == "page" else self._looks).append(tuple(fields))

    def begin(self) -> float:
        """Begin to watch for the peak of memory; gives the moment."""
        (self._memory / "clear_refs").write_text("5")
        return time.monotonic()

    def served(self, patience_s: float) -> bool:
        """Wait until two pages have come that were asked for after this moment."""
        now = time.monotonic()
        while time.monotonic() < now + patience_s:
            if sum(came for begun, _, _, came in self._pages[-20:] if begun > now) > 1:
                return True
            time.sleep(0.02)
        return False

    def between(self, begun: float, ended: float) -> Seen:
        """Sum up; a page that would have been asked for while another was waited for counts as waiting too."""
        pages = [page for page in self._pages if begun - page[1] < page[0] < ended]
        waits, works = [], []
        for at, took, worked, _ in pages:
            left = [1 - gone / took for gone in _steps(took) if begun < at + gone < ended]
            waits += [took * part for part in left]
            works += [worked * part for part in left]
        waits, works = sorted(waits) or [ended - begun], sorted(works) or [ended - begun]
        looks = [look for look in self._looks if begun - 0.3 < look[0] < ended] or self._looks[-1:]
        first, last = looks[0], looks[-1]
        return Seen(
            pages=len(pages),
            lost=sum(not came for *_, came in pages),
            p50=round(waits[len(waits) // 2] * 1000, 1),
            p99=round(waits[len(waits) * 99 // 100] * 1000, 1),
            worst=round(waits[-1] * 1000, 1),
            work_p99=round(works[len(works) * 99 // 100] * 1000, 1),
            work_worst=round(works[-1] * 1000, 1),
            before=round(first[1] / MIB, 1),
            grown=round((self._peak() - first[1]) / MIB, 1),
            kept=round((last[1] - first[1]) / MIB, 1),
            processor=round(last[2] - first[2], 2),
            descriptors=max(look[3] for look in looks),
        )

    def _peak(self) -> int:
        lines = (self._memory / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _steps(took: float) -> list[float]:
    return [watcher.EVERY_S * number for number in range(int(took / watcher.EVERY_S) + 1)]
