"""Child processes of asyncio: their start and end, and those that carry out one order and report.

The order goes to the child's standard input as JSON, the report comes from its standard output.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from secondlook.ground.errors import PatternError, SecondLookError
from secondlook.ground.json_text import read_json


class ChildFailedError(PatternError):
    """A child came to no result; what it was to do may well succeed later."""


async def ask_child(
    module: str, order: Mapping[str, Any], what: str, *, within_s: float | None = None
) -> dict[str, Any]:
    """Have a module's process, which ends in `answer_order`, carry out an order; `what` names it in errors.

    Raises PatternError with what the child found wrong, and ChildFailedError where it came to no result.
    """
    try:
        child = await start_child(module, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    except OSError as error:
        raise ChildFailedError(f"{what} cannot begin: {error.strerror or error}") from None
    try:
        async with asyncio.timeout(within_s):
            report, _ = await child.communicate(json.dumps(order).encode())
    except TimeoutError:
        raise ChildFailedError(f"{what} took longer than {within_s:g} s") from None
    finally:
        await end_child(child)
    if child.returncode != 0 or not report:
        raise ChildFailedError(f"{what} broke off (status {child.returncode}): too little memory or time?")
    answer: dict[str, Any] = read_json(report)
    if "fault" in answer:
        raise ChildFailedError(f"{what} failed: {answer['fault']}")
    if "failed" in answer:
        raise ChildFailedError(answer["failed"])
    if "error" in answer:
        raise PatternError(answer["error"])
    return answer


def answer_order(carry_out: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Read this process's order, carry it out, and write the report, or why there is none."""
    try:
        answer = carry_out(json.load(sys.stdin))
    except ChildFailedError as error:
        answer = {"failed": str(error)}
    except SecondLookError as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"fault": error.strerror or type(error).__name__}
    json.dump(answer, sys.stdout)


async def start_child(module: str, *arguments: str, **options: Any) -> asyncio.subprocess.Process:
    """Start a module's process; nothing in the current folder can take the place of what it imports."""
    return await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", module, *arguments, **options)


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
