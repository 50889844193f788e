"""Who called a command: this process's own terminal, or a command line that a running proxy answers."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from secondlook.ground.program_name import program_name

if TYPE_CHECKING:
    from secondlook.run.assembly.answers.answering import Running  # most commands have no use for it

type Stream = Literal["out", "err"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A command line beside the proxy whose service runs the command."""

    running: "Running"
    write: Callable[[str, str], None]  # stream, text
    columns: int | None  # of its terminal; None where its output is piped
    environ: Mapping[str, str]  # its description of its terminal
    called: str  # how it calls this program


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)  # None: this process


def write(text: str, stream: Stream = "out") -> None:
    """Write what the command prints."""
    caller = CALLER.get()
    if caller is not None:
        caller.write(stream, text)
    else:
        (sys.stderr if stream == "err" else sys.stdout).write(text)


def typed(words: str) -> str:
    """Return a command of this program as the caller can type it."""
    caller = CALLER.get()
    return f"{program_name() if caller is None else caller.called} {words}"


def on_terminal() -> bool:
    """Whether a person reads what the command prints."""
    caller = CALLER.get()
    return sys.stdout.isatty() if caller is None else caller.columns is not None


def columns() -> int:
    """Return the width of the terminal."""
    caller = CALLER.get()
    return (caller.columns if caller is not None else None) or shutil.get_terminal_size().columns


def environ() -> Mapping[str, str]:
    """Return the environment that describes the terminal."""
    caller = CALLER.get()
    return os.environ if caller is None else caller.environ
