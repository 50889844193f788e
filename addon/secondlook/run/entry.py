"""Where a child process begins: `python -m secondlook.run.entry PLAN PIPE INDEX ROLE`.

The counters of a process lie in files that are mapped into memory (prometheus_client's multiprocess mode),
and these files have holes where nothing was counted yet. Writing into such a hole on a full disk ends the
process with SIGBUS. So their blocks are taken here, before the first counter is made; where there is no
room, the process counts in its own memory only, and serves.
"""

import contextlib
import gc
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Final

from secondlook.ground import collector
from secondlook.ground.memory import share_heaps

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
KINDS: Final = ("counter", "gauge_livemax", "histogram")  # of files that prometheus_client makes for us
RESERVED_BYTES: Final = 256 << 10  # of each; a process with ten servers and all lists uses about 50 KiB


def reserve_counters(folder: Path, pid: int) -> bool:
    """Make the files of one process with all their blocks; whether there was room for them."""
    made: list[Path] = []
    try:
        for kind in KINDS:
            path = folder / f"{kind}_{pid}.db"
            with path.open("wb", buffering=0) as file:
                made.append(path)
                left = RESERVED_BYTES
                while left:  # zeros are written: not every file system can reserve
                    left -= file.write(bytes(left))
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        return False
    return True


def spare_imports() -> None:
    """Leave out what three packages import beside what we use of them, before anything imports them.

    `mitmproxy.addons` as a package imports all thirty addons, among them some with Flask and an LDAP client;
    ours are imported each by its own name, and need no more than to be found. httpx goes without its command
    line where that cannot be imported, and FastAPI without pydantic 1, for whose models it would look. It is
    a quarter of the time in which a worker starts, and 15 MB.
    """
    found = importlib.util.find_spec("mitmproxy.addons")
    assert found is not None
    sys.modules["mitmproxy.addons"] = importlib.util.module_from_spec(found)
    for name in ("httpx._main", "pydantic.v1"):
        sys.modules[name] = None  # type: ignore[assignment]  # what Python documents for "not to be found"


def main() -> None:
    """Begin as the child that the arguments name."""
    share_heaps()
    collector.collect_seldom()
    gc.disable()  # altogether until it is ready (`collector.keep_what_is_here`)
    spare_imports()
    folder = os.environ.get(VARIABLE)
    if folder is not None and not reserve_counters(Path(folder), os.getpid()):
        del os.environ[VARIABLE]
        with contextlib.suppress(OSError):  # the output may well be on the same disk
            sys.stderr.write(f"secondlook: no room for counters in {folder}: this process is not counted\n")
    importlib.import_module(f"secondlook.run.{sys.argv[4]}").main()


if __name__ == "__main__":
    main()
