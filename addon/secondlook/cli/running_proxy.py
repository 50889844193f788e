"""Beside a running proxy: a command is answered by it, which knows all and has everything open already.

Nothing but the standard library and a few small modules of ours is imported here: that is what makes such a
command quick. Whatever is not plain goes the ordinary way, in silence: a command that a proxy cannot answer,
an option it does not know, a configuration that has to be read to find the proxy, a proxy of another
configuration or another version of this program, and every error.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from secondlook.cli.installation import find_config, plainly_stated
from secondlook.core.neutralize import inert
from secondlook.ground.program_name import program_name
from secondlook.run.supervisor.command_socket import Conversation, program_mark

# commands that a proxy answers, and of each what it does not: what goes on for long, asks back or reads files
ANSWERED: Mapping[str, frozenset[str]] = {
    "status": frozenset(),
    "log": frozenset({"--follow", "--erase-client", "--yes"}),
    "queue": frozenset({"verify"}),
    "rules": frozenset({"backtest"}),
    "allow": frozenset(),
    "block": frozenset(),
    "pause": frozenset(),
    "resume": frozenset(),
    "check": frozenset({"--file", "--offline"}),
}
PATH_STARTS = ("/", "./", "../", "~/")  # no URL begins so
PLACES = {"-c": "config", "--config": "config", "--state": "state"}
FLAGS = ("--json", "--csv", "--utc")  # options without a value
TERMINAL = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "TZ")  # what Rich and times look at
COMPLETING = "_SECONDLOOK_COMPLETE"
_MARKED_UP = re.compile(r"(\t|\r?\n|\x1b\[[0-9;]*m)")


class CommandLine(NamedTuple):  # a dataclass would double what is imported
    """A command line: its words without the options that name the place."""

    words: tuple[str, ...]
    config: Path | None = None
    state: Path | None = None


def parse(words: Sequence[str]) -> CommandLine | None:
    """Take the place out of a command line; None where the words could be meant in another way too."""
    left: list[str] = []
    places: dict[str, Path] = {}
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in PLACES:
            left.append(word)
            continue
        if left and left[-1].startswith("-") and left[-1] not in FLAGS and "=" not in left[-1]:
            return None  # it may be that option's value
        if not equals or option == "-c":
            value = next(rest, "") if word == option else ""
        if not value or value.startswith("-") or PLACES[option] in places:
            return None
        places[PLACES[option]] = Path(value)
    return CommandLine(tuple(left), **places)


def answerable(words: Sequence[str]) -> bool:
    """Return whether a proxy may answer these words; it asks this too."""
    if not words or words[0] not in ANSWERED:
        return False
    for word in words[1:]:
        if word.startswith("-") and not word.startswith("--"):  # -f, -h, a negative number
            return False
        if word in ("--", "--help") or word.partition("=")[0] in ANSWERED[words[0]]:
            return False
        if words[0] == "check" and word.startswith(PATH_STARTS):
            return False
    return True


def answered(words: Sequence[str]) -> int | None:
    """Have the running proxy answer a command, and print that: the exit status, or None where it did not."""
    if COMPLETING in os.environ or not words or words[0] not in ANSWERED:
        return None
    asked = parse(words)
    if asked is None or not answerable(asked.words) or _names_a_file(asked.words):
        return None
    try:
        answer = _ask(asked)
        if answer is None or "elsewhere" in answer:
            return None
        status, printed = answer["status"], [(str(stream), str(text)) for stream, text in answer["printed"]]
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):  # the last: no home
        return None
    for stream, text in printed:
        (sys.stderr if stream == "err" else sys.stdout).write(harmless(text))
    sys.stdout.flush()
    return int(status)


def _names_a_file(words: Sequence[str]) -> bool:
    # unlike Path's, this never raises
    return words[0] == "check" and any("://" not in word and os.path.exists(word) for word in words[1:])  # noqa: PTH110


def _ask(asked: CommandLine) -> dict[str, Any] | None:
    config, state = asked.config, asked.state
    if config is None and state is not None:
        wanted = None  # the settings of whatever runs there
    else:
        found, own_state = find_config(config)
        wanted = os.path.realpath(found) if found is not None else ""
        state = state or own_state or plainly_stated(found)
        if state is None:
            return None
    conversation = Conversation(state)
    try:
        greeting = conversation.greeting
        has = greeting["config"]
        if wanted is not None and wanted != ("" if has is None else os.path.realpath(has)):
            return None
        if greeting["program"] != program_mark():
            return None
        return conversation.ask(
            {
                "words": asked.words,
                "columns": _columns(),
                "called": program_name(),
                "environ": {name: os.environ[name] for name in TERMINAL if name in os.environ},
            }
        )
    finally:
        conversation.close()


def _columns() -> int | None:
    """Return the width of the terminal; None where the output is piped."""
    if not sys.stdout.isatty():
        return None
    width = os.environ.get("COLUMNS", "")
    if width.isdecimal() and int(width):
        return int(width)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def harmless(text: str) -> str:
    """Leave out of an answer what no command prints, whoever gave it: all but tabs, lines and type."""
    parts = _MARKED_UP.split(text)
    parts[::2] = map(inert, parts[::2])
    return "".join(parts)
