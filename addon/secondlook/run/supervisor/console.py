"""What the supervisor writes for whoever started it. Standard library only.

An output that takes nothing (a full disk, a closed pipe) is no reason to end.
"""

import contextlib
import sys
from collections.abc import Iterable


def report(message: str) -> None:
    """Report to the operator."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"secondlook: {message}\n")
        sys.stderr.flush()


def announce(lines: Iterable[str]) -> None:
    """Write the lines of a proxy that is ready."""
    with contextlib.suppress(OSError):
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
