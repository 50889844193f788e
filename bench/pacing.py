"""Load at a rate that does not wait for answers: requests come when a schedule says so, as people send them.

Run by `paced` as a process of its own: `python bench/pacing.py HOST:PORT PATHS RATE SECONDS` prints the
latencies. The pauses between requests are random (exponential), so that they neither march in step nor wait
for one another; what a request takes is counted from when it was due, so that a server that stands still is
not spared those that queue up meanwhile.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from random import Random

CONNECTIONS = 100
GRACE_S = 10.0


class Line:
    """One kept-alive connection, with at most one request in flight."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.due = 0.0
        self.got = bytearray()
        self.socket = socket.create_connection(address, timeout=GRACE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes, due: float) -> None:
        """Ask; `due` is when that should have been."""
        self.due = due
        self.got.clear()
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Read what has come; tells whether the answer is whole. SystemExit where it is not a 200."""
        piece = self.socket.recv(1 << 16)
        self.got += piece
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            if not piece:
                raise SystemExit("the connection was closed before an answer")
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not every request was answered: {head[:200]!r}")
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)


def load(host: str, paths: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Ask for the paths in turn, `rate` of them a second; gives the answers' times in ms, in no order."""
    name, _, port = host.rpartition(":")
    lines = [Line((name, int(port))) for _ in range(CONNECTIONS)]
    by_number = {line.socket.fileno(): line for line in lines}
    poll = select.epoll()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    requests = [f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for path in paths]
    random = Random(1)
    idle, waiting, took = deque(lines), deque[float](), list[float]()
    asked = 0
    began = time.perf_counter()
    due = began + random.expovariate(rate)
    end = began + seconds
    while due < end or waiting or len(idle) < len(lines):
        now = time.perf_counter()
        if now > end + GRACE_S:
            raise SystemExit(f"{len(waiting) + len(lines) - len(idle)} requests were not answered")
        while due <= now and due < end:
            waiting.append(due)
            due += random.expovariate(rate)
        while waiting and idle:
            idle.popleft().send(requests[asked % len(requests)], waiting.popleft())
            asked += 1
        # epoll itself counts in whole milliseconds
        select.select([poll], [], [], max(0.0, min(due - time.perf_counter(), 0.1)))
        for number, _ in poll.poll(0):
            line = by_number[number]
            if line.answered():
                took.append((time.perf_counter() - line.due) * 1000)
                idle.append(line)
    return took


def paced(host: str, paths: Path, rate: float, seconds: float, core: str | None = None) -> list[float]:
    """Load a host with the paths of a file from another process; gives the answers' times, sorted, in ms."""
    command = [sys.executable, __file__, host, str(paths), str(rate), str(seconds)]
    told = subprocess.run(
        command if core is None else ["taskset", "-c", core, *command], stdout=subprocess.PIPE, check=True
    )
    return sorted(json.loads(told.stdout))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Give the value below which `share` percent of sorted values lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


if __name__ == "__main__":
    print(json.dumps(load(sys.argv[1], Path(sys.argv[2]).read_text().split(), *map(float, sys.argv[3:]))))
