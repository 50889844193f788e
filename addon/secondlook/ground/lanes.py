"""Threads for what blocks, a few for each purpose, so that nothing waits behind what does not concern it.

The loop's default executor (`asyncio.to_thread`, `run_in_executor(None, …)`, `loop.getaddrinfo`) is one pool
for everything: whatever holds its threads, such as names whose DNS never answers or a network drive that
hangs, would keep an operator's rule from coming into force. So nobody uses it, which a test holds; libraries
may.

Names have threads of their own (`resolver.py`), as have the ledger, the spool and passwords.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial


class Lane:
    """The threads of one purpose; they start when they are needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run[**P, T](self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Run a blocking function off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *args, **named))


VIEW = Lane("view", 1)  # rules, pauses and the confirmed set
PATTERN = Lane("pattern", 1)  # the pattern in force: must never wait, be the ledger where it may
STATE = Lane("state", 1)  # our own small files, the ledger's opening and closing
LISTS = Lane("lists", 4)  # reading, checking and computing lists: up to seconds each
FILES = Lane("files", 2)  # other people's folders, which may lie on a drive that hangs
FEED_FILES = Lane("feed-files", 16)  # files of feeds, one look at each: several may lie on a drive that hangs
OUTSIDE = Lane("outside", 2)  # notices and log daemons: as slow as whoever takes them
COMMANDS = Lane("commands", 4)  # what commands ask of the running proxy: a check may wait for its servers
