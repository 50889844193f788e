"""The end of a child process that asyncio started."""

import asyncio


async def end_child(child: asyncio.subprocess.Process) -> None:
    """Kill a child unless it has ended; return when it is gone, however often this is cancelled meanwhile.

    A wait that is given up leaves a process that nobody reaps, and a transport that outlives its loop.
    """
    if child.returncode is not None:
        return
    child.kill()
    gone = asyncio.ensure_future(child.wait())
    cancelled = False
    while not gone.done():
        try:
            await asyncio.shield(gone)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
