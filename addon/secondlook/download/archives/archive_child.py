"""The process that looks into files: `python -m secondlook.download.archives.archive_child DESCRIPTOR`.

Reads requests from a Unix socket: a line of JSON with limits, encodings and YARA rules, the file's
descriptor beside it; answers each with a line of JSON. Rules alone (`load`) are loaded for the files that
follow. Its memory is limited; it ends when the socket closes. Once it has taken much memory it reports it
(`spent`), to be replaced: an interpreter seldom gives any back. What the rules take is not counted.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path

from secondlook.download.archives.archive import ArchiveLimits, look_inside
from secondlook.ground.json_text import read_json
from secondlook.scan.yara_look import Looker

MEMORY_BYTES = 512 << 20
SPENT_BYTES = 128 << 20
LINE_BYTES = 64 << 10
FAULT_CHARS = 200


def serve(channel: socket.socket) -> None:
    """Answer until the other side closes."""
    looker = Looker()
    rules_bytes = 0
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, LINE_BYTES, 1)
        if not data:
            return
        while not data.endswith(b"\n"):
            more = channel.recv(LINE_BYTES)
            if not more:
                return
            data += more
        asked = read_json(data)
        if "load" in asked:
            before = _peak_bytes()
            with contextlib.suppress(Exception):  # whatever it is, it is reported with the next file
                looker.load(asked["load"])
            rules_bytes += _peak_bytes() - before
            channel.sendall(b"{}\n")
            continue
        with os.fdopen(descriptors[0], "rb") as file:
            look, fault = None, None
            try:
                if asked.get("rules") is not None:
                    look = looker.begin(**asked["rules"])
            except Exception as error:  # noqa: BLE001 - the archive is looked into all the same
                fault = f"the rules cannot be loaded: {type(error).__name__}: {error}"[:FAULT_CHARS]
            report = look_inside(
                file,
                ArchiveLimits(**asked["limits"]),
                tuple(asked["encodings"]),
                look=look,
                archive=asked.get("archive", True),
            )
        answer = {
            "members": report.members,
            "problem": report.problem,
            "spent": _peak_bytes() - rules_bytes > SPENT_BYTES,
            "detections": [asdict(detection) for detection in look.detections] if look is not None else [],
            "fault": look.fault if look is not None else fault,
            "spent_s": look.spent_s if look is not None else 0.0,
        }
        channel.sendall(json.dumps(answer).encode("ascii") + b"\n")


def _peak_bytes() -> int:
    """Return the most memory this process ever had (getrusage counts what its parent had at the fork)."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def main() -> None:
    """Run as a child of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker ends it by closing the socket
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The worker may close with an answer unread; a file that took all the memory leaves none to wait with,
    # and the worker ends a process that is spent.
    with socket.socket(fileno=int(sys.argv[1])) as channel, contextlib.suppress(ConnectionError, MemoryError):
        serve(channel)


if __name__ == "__main__":
    main()
