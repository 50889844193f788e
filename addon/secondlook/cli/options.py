"""Options that many commands take, and how what is typed is read."""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR
from typing import Annotated, Any

import typer

from secondlook.cli.output import fail
from secondlook.core.rules.client import ClientNameError, client_name
from secondlook.ground.errors import ConfigError, SecondLookError
from secondlook.ground.instant import read_instant

SHORTEST_DATE = len("20260131")

Text = str | None  # of an option that may be left out
Texts = list[str] | None


def option(name: str, metavar: str, text: str, complete: Callable[[str], list[str]] | None = None) -> Any:
    """Declare an option that has a value, which `complete` completes on the tab key."""
    return typer.Option(name, metavar=metavar, help=text, autocompletion=complete)


def flag(name: str, text: str) -> Any:
    """Declare an option that is given or not."""
    return typer.Option(name, help=text)


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="The configuration; default: proxy.yaml here, else this user's or the system's.",
    ),
]
StateOption = Annotated[
    Path | None, option("--state", "DIR", "The state folder, instead of the configuration's.")
]
UtcOption = Annotated[bool, flag("--utc", "Exact times, in UTC; piped they always are.")]
JsonOption = Annotated[bool, flag("--json", "One JSON object a line.")]


def client_option(text: str, read: Callable[[str], str] = client_name) -> Any:
    """Declare `--client`: its value in shortest form; a blank one is refused, for it names nobody."""

    def value(given: str | None) -> str | None:
        try:
            return None if given is None else read(given)
        except ClientNameError as error:
            raise ConfigError(f"--client: {error}") from None

    return typer.Option("--client", metavar="CLIENT", help=text, callback=value)


ForClientOption = Annotated[Text, client_option("For this address, network or user only.")]
AsClientOption = Annotated[Text, client_option("As this client sees it.")]


def seconds_from(text: str | None, option: str) -> float | None:
    """Read a duration given on the command line. Raises ConfigError."""
    if text is None:
        return None
    from secondlook.config.value import parse_span

    try:
        return parse_span(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}, got {text!r}") from None


def instant_from(text: str | None, option: str) -> float | None:
    """Read an instant: RFC 3339, a date, or a duration ago (`1d`). Raises ConfigError."""
    if text is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?\s*(ms|s|m|h|d|w)", text):
        from secondlook.config.value import parse_duration

        return time.time() - parse_duration(text)
    try:
        return read_instant(text)
    except ValueError:
        if text.isdecimal() and len(text) < SHORTEST_DATE:
            wanted = f"expected a unit after the number: {text}m, {text}h or {text}d"
            raise ConfigError(f"{option}: {wanted}") from None
        raise ConfigError(
            f"{option}: expected how long ago (1d) or when (2026-01-31T12:00:00Z), got {text!r}"
        ) from None


def own_name() -> str:
    """Return the name of who calls, for what keeps it; the number where a container has no name for it."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.geteuid()}"


def writable_state(state: Path) -> None:
    """Make the state folder, for its owner alone. Raises UnusableStateError."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = state / f".write-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise UnusableStateError(
            f"cannot use the state folder {state}: {error.strerror or error}; choose another with --state"
        ) from error


def enterable_state(state: Path) -> None:
    """Check that a state folder that is there is open to this user. Raises UnusableStateError."""
    as_this_user = os.access in os.supports_effective_ids
    try:
        is_folder = S_ISDIR(state.stat().st_mode)  # from Python 3.14 on is_dir() is False in a closed folder
        if not is_folder or os.access(state, os.R_OK | os.X_OK, effective_ids=as_this_user):
            return
        owner = state.owner()
    except PermissionError:
        owner = "root"  # it lies within a folder that is closed too
    except OSError:
        return
    except KeyError:
        owner = f"user {state.stat().st_uid}"
    raise UnusableStateError(
        f"the state folder {state} is closed to {own_name()}: run this as {owner}, "
        "or choose another with --state"
    )


class UnusableStateError(SecondLookError):
    """The state folder cannot be read or written."""


def read_secret(what: str, *, twice: bool) -> str:
    """Read what nobody is to see, from a person at a terminal, else from the first line that is piped."""
    import getpass

    if sys.stdin.isatty():
        given = getpass.getpass(f"{what}: ")
        if twice and getpass.getpass("once more: ") != given:
            fail(f"the two {what}s differ")
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    return given or fail(f"expected a {what}, got an empty line")
