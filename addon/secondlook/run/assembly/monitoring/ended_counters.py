"""Counters of processes that have ended: added up in few files, or each restart and reload would leave some.

prometheus_client's files are named after the process that counts in them, and none ever goes by itself: its
counts still count. A gauge says how something is now; that of an ended process would say so for good.
"""

import asyncio
import os
import struct
import threading
from pathlib import Path
from typing import Final

from prometheus_client.mmap_dict import MmapedDict

from secondlook.ground.lanes import STATE
from secondlook.run.entry import reserve_counters

EVERY_S: Final = 60.0
ENDED: Final = 0  # where others have the number of a process

folding: Final = threading.Lock()
"""Held while counts move, and by who reads them: they must be seen once."""


async def fold_again(folder: Path) -> None:
    """Put together what has ended, now and then, until cancelled."""
    while True:
        await STATE.run(fold_ended, folder)
        await asyncio.sleep(EVERY_S)


def fold_ended(folder: Path) -> None:
    """Add the counts of ended processes to those of the others that have ended. Raises OSError."""
    with folding:
        for path in folder.glob("*_*.db"):
            kind, _, number = path.stem.rpartition("_")
            if not number.isdigit() or int(number) == ENDED or _alive(int(number)):
                continue
            if not kind.startswith("gauge") and not _added(path, folder / f"{kind}_{ENDED}.db"):
                continue
            path.unlink(missing_ok=True)


def _added(path: Path, ended: Path) -> bool:
    """Add what is in a file to what is in another; whether there was room for it."""
    if not ended.exists() and not reserve_counters(ended.parent, ENDED):
        return False
    total = MmapedDict(str(ended))  # type: ignore[no-untyped-call]
    try:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            total.write_value(key, total.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, struct.error):
        pass  # a process was killed while it wrote: nobody can read the rest
    finally:
        total.close()  # type: ignore[no-untyped-call]
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # its number is another's by now
        return True
    return True
