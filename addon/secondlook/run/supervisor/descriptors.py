"""How many files and sockets a process, and those it starts, may have open."""

import contextlib
import resource

MOST = 1 << 20  # where the machine sets no bound


def raise_file_limit(wanted: int) -> None:
    """Allow as many open files as the connections need: many systems begin with 1,024 and allow more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS refuses some of what it lists
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
