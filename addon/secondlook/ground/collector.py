"""When the garbage collector looks through what a process has.

Nearly all that is made while modules come in stays for good, and looking through it costs more than it finds:
a fifth of the processor time of a command was spent so, most of it at the end, where Python looks through
all modules once more before it takes them apart.
"""

import atexit
import gc
from typing import Final

_ORDINARY: Final = gc.get_threshold()
_SELDOM: Final = 200_000  # objects; a command that does its work and ends makes fewer


def collect_seldom() -> None:
    """Collect seldom, and not at the end: for a process that does one thing, before it imports the rest."""
    gc.set_threshold(_SELDOM, *_ORDINARY[1:])
    atexit.register(gc.freeze)


def keep_what_is_here() -> None:
    """Collect once, then pass over what is there now: for a process that has begun and goes on for long.

    Modules, layers and settings stay. Looking through them all stopped every request for a tenth of a
    second, every ten seconds under traffic.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_ORDINARY)
    gc.enable()
