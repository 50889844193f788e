"""A process beside an attack: asks for a harmless page through a proxy again and again, and looks at its worker.

`python watcher.py HOST:PORT PID [USER:PASSWORD]` (with a user: over SOCKS, signed in by RFC 1929) prints a line of JSON for each look: `["page", begun, took_s, worked_s, came]` every 20 ms and
`["worker", now, resident bytes, processor_s, descriptors]` every 100 ms; times are of the monotonic clock, `worked_s` is
the processor time of the worker's loop meanwhile, which a busy machine does not change. It ends with its standard input.
Of ten pages one is asked for over a connection of its own: who is new is served too.
"""

import contextlib
import json
import socket
import sys
import threading
import time
from pathlib import Path

import psutil

EVERY_S = 0.02
LOOK_EVERY_S = 0.1
PATIENCE_S = 12.0
ADDRESS = "127.0.0.2"  # another client than the attacker, who has 127.0.0.1
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"

TELLING = threading.Lock()


def serve(listening: socket.socket) -> None:
    """Be the origin of the harmless page."""
    while True:
        threading.Thread(target=_answer, args=(listening.accept()[0],), daemon=True).start()


def _answer(peer: socket.socket) -> None:
    with peer, contextlib.suppress(OSError):
        while b"\r\n\r\n" in peer.recv(65536):
            peer.sendall(PAGE)


class Asker:
    """Asks for the page, over a connection that stays."""

    def __init__(self, proxy: tuple[str, int], origin: int, login: str) -> None:
        self._proxy, self._origin, self._login = proxy, origin, login
        target = "/" if login else f"http://127.0.0.1:{origin}/"
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{origin}\r\nAccept: text/html\r\n\r\n".encode()
        )
        self._stays: socket.socket | None = None

    def _connect(self) -> socket.socket:
        line = socket.create_connection(self._proxy, PATIENCE_S, (ADDRESS, 0))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._login:
            user, _, password = self._login.encode().partition(b":")
            signed = b"\1" + bytes([len(user)]) + user + bytes([len(password)]) + password
            for said, answer in (
                (b"\5\1\2", b"\5\2"),
                (signed, b"\1\0"),
                (b"\5\1\0\1\x7f\0\0\1" + self._origin.to_bytes(2), b"\5\0"),
            ):
                line.sendall(said)
                if not line.recv(100).startswith(answer):
                    line.close()
                    raise ConnectionError
        return line

    def ask(self, *, anew: bool) -> bool:
        """Whether the page came; a connection that was closed meanwhile is made anew once."""
        if anew and self._stays is not None:
            self._stays.close()
            self._stays = None
        for _ in range(1 if self._stays is None else 2):
            try:
                if self._stays is None:
                    self._stays = self._connect()
                self._stays.sendall(self._request)
                came = b""
                while not came.endswith(b"\r\n\r\nok"):
                    piece = self._stays.recv(65536)
                    if not piece or len(came) > 100_000:
                        raise ConnectionError
                    came += piece
            except OSError:
                if self._stays is not None:
                    self._stays.close()
                self._stays = None
            else:
                return True
        return False


def watch_worker(pid: int) -> None:
    """Look at the worker until it is gone."""
    worker = psutil.Process(pid)
    with contextlib.suppress(psutil.Error):
        while True:
            with worker.oneshot():
                used = worker.cpu_times()
                tell(
                    "worker",
                    time.monotonic(),
                    worker.memory_info().rss,
                    used.user + used.system,
                    worker.num_fds(),
                )
            time.sleep(LOOK_EVERY_S)


def worked_s(loop: Path) -> float:
    """How long a thread has had the processor (Linux: Documentation/scheduler/sched-stats); 0 where it is gone."""
    try:
        return int(loop.read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def tell(*fields: object) -> None:
    """Print one look."""
    with TELLING:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Watch until standard input ends."""
    host, _, port = sys.argv[1].rpartition(":")
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listening,), daemon=True).start()
    threading.Thread(target=watch_worker, args=(int(sys.argv[2]),), daemon=True).start()
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    loop = Path(f"/proc/{sys.argv[2]}/task/{sys.argv[2]}/schedstat")
    asker = Asker((host, int(port)), listening.getsockname()[1], "".join(sys.argv[3:4]))
    count = 0
    while not ended.is_set():
        begun, before = time.monotonic(), worked_s(loop)
        came = asker.ask(anew=count % 10 == 0)
        count += 1
        took = time.monotonic() - begun
        tell("page", begun, took, worked_s(loop) - before, came)
        ended.wait(max(0.0, EVERY_S - took))


if __name__ == "__main__":
    main()
