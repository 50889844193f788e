"""Connections spread evenly over the workers of a family, which accept on one socket.

Whoever of them wakes first would take all that wait: a browser's six connections, or every keep-alive
connection of a burst, and the other processors would have nothing to do. So each worker writes down how many
connections it has, in a page of memory that all share. Who is ahead of the others by more than a little
leaves them the next ones for a moment; what waits still after that it takes, as they may be busy, or gone.
"""

import mmap
from pathlib import Path

PAGE_BYTES = 4096
AHEAD = 2  # connections more than another worker's, at least; a quarter of its own where that is more
_MOST_WORKERS = PAGE_BYTES // 4


class Spread:
    """What one of `workers` knows of the others; raises OSError where memory cannot be shared.

    The file is never cut, as others have it mapped. Two that have one place for a while, as one drains and
    the next has begun, write over each other: what is wrong costs a moment at each accept.
    """

    def __init__(self, path: Path, index: int, workers: int, pause_s: float = 0.002) -> None:
        self.pause_s = pause_s
        with path.open("ab") as file:
            path.chmod(0o600)
            file.write(bytes(max(0, PAGE_BYTES - file.tell())))  # a hole ends who writes to it on a full disk
        with path.open("r+b") as file:
            page = mmap.mmap(file.fileno(), PAGE_BYTES)
        self._open: memoryview[int] = memoryview(page).cast("I")  # written at once: nobody reads half of one
        self._index = index % _MOST_WORKERS
        self._others = [each for each in range(min(workers, _MOST_WORKERS)) if each != self._index]
        self._open[self._index] = 0

    def note(self, connections: int) -> None:
        """Show the others how many connections this worker has."""
        self._open[self._index] = connections

    def room(self) -> int:
        """Return how many more to take before it is the others' turn; none when ahead of one of them."""
        if not self._others:
            return AHEAD
        fewest = min(self._open[each] for each in self._others)
        return max(0, fewest + max(AHEAD, fewest // 4) - self._open[self._index])
