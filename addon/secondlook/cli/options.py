"""Options that every command takes, and where they lead: the settings and the state folder."""

import atexit
import inspect
import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from secondlook.cli.caller import CALLER, typed
from secondlook.cli.finding import find_config
from secondlook.cli.output import fail
from secondlook.core.rules.client import ClientNameError, client_name
from secondlook.ground.errors import ConfigError, SecondLookError
from secondlook.ground.files import give_to_owner
from secondlook.run.supervisor.plan import Invocation
from secondlook.run.supervisor.runfile import is_of_a_proxy, last_run

if TYPE_CHECKING:
    from secondlook.config import Settings
    from secondlook.ledger.ledger import Ledger
    from secondlook.run.assembly.answers.answering import Running

SHORTEST_DATE = len("20260131")

ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="The configuration; default: proxy.yaml here."),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="The state folder, instead of the configuration's."),
]
UtcOption = Annotated[bool, typer.Option("--utc", help="Exact times, in UTC; piped they always are.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def client_option(text: str, read: Callable[[str], str] = client_name) -> Any:
    """Declare `--client`: its value in shortest form; a blank one is refused, for it names nobody."""

    def value(given: str | None) -> str | None:
        try:
            return None if given is None else read(given)
        except ClientNameError as error:
            raise ConfigError(f"--client: {error}") from None

    return typer.Option("--client", metavar="CLIENT", help=text, callback=value)


ForClientOption = Annotated[str | None, client_option("For this address, network or user only.")]
AsClientOption = Annotated[str | None, client_option("As this client sees it.")]


def when_bare[**Options](group: typer.Typer) -> Callable[[Callable[Options, None]], Callable[Options, None]]:
    """Make a command also what its group does when called without a command, with the same options."""

    def register(command: Callable[Options, None]) -> Callable[Options, None]:
        def bare(ctx: typer.Context, *args: Options.args, **options: Options.kwargs) -> None:
            if ctx.invoked_subcommand is None:
                command(*args, **options)

        # Typer reads a command's options from its signature.
        signature = inspect.signature(command)
        context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        bare.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[context, *signature.parameters.values()]
        )
        bare.__annotations__ = {"ctx": typer.Context, **command.__annotations__}
        group.callback(invoke_without_command=True)(bare)
        return command

    return register


class ListPrinter(Protocol):
    """Prints records of the ledger."""

    def __call__(self, ledger: "Ledger", *, utc: bool, as_json: bool) -> None:
        """Print them all."""


def lists(group: typer.Typer) -> Callable[[ListPrinter], ListPrinter]:
    """Make what prints records of the ledger the command `list` of a group, and the group's own."""

    def register(show: ListPrinter) -> ListPrinter:
        def listed(
            config: ConfigOption = None,
            state: StateOption = None,
            utc: UtcOption = False,
            as_json: JsonOption = False,
        ) -> None:
            with known_context(config, state).ledger_to_read() as ledger:
                show(ledger, utc=utc, as_json=as_json)

        group.command("list", help=show.__doc__)(when_bare(group)(listed))
        return show

    return register


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command works on."""

    settings: "Settings"
    config: Path | None
    running: "Running | None" = None  # whatever is open already, in a proxy that answers the command

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.settings.state

    def list_titles(self) -> dict[str, str]:
        """Return what people call the lists in force, by name."""
        from secondlook.run.assembly.check.naming import titles_in_force

        return titles_in_force(self.settings)

    def list_title(self, name: str) -> str:
        """Return what people call a list in force; its name where that is not known."""
        return self.list_titles().get(name, name)

    def ledger(self) -> AbstractContextManager["Ledger"]:
        """Return the ledger. Raises LedgerError and ConfigError."""
        from secondlook.run.assembly.check.opening import ledger_of

        return ledger_of(self.settings) if self.running is None else nullcontext(self.running.ledger)

    def ledger_to_read(self) -> AbstractContextManager["Ledger"]:
        """Return the ledger, to write nothing. Raises LedgerError and ConfigError."""
        from secondlook.run.assembly.check.opening import ledger_to_read

        return ledger_to_read(self.settings) if self.running is None else nullcontext(self.running.ledger)


def invocation_of(
    config: Path | None,
    state: Path | None,
    *,
    overrides: tuple[str, ...] = (),
    listen: tuple[str, ...] = (),
    review: str | None = None,
    workers: int | None = None,
) -> Invocation:
    """Describe a call of `secondlook run` so that it can be read again."""
    found, own_state = find_config(config)
    folder = state if state is not None else own_state
    return Invocation(
        config=str(found.absolute()) if found is not None else None,
        overrides=overrides,
        state=str(folder.absolute()) if folder is not None else None,
        listen=listen,
        review=review,
        workers=workers,
    )


def open_context(config: Path | None, state: Path | None) -> CommandContext:
    """Find settings and state. Raises ConfigError.

    With `--state` alone they are those of the proxy that runs there or was the last to: another configuration
    would know other servers, and answer wrongly.
    """
    caller = CALLER.get()
    if caller is not None:
        return CommandContext(caller.running.settings, caller.running.config, caller.running)
    context = _found_context(config, state)
    leave_to_owner(context.state)
    return context


def _found_context(config: Path | None, state: Path | None) -> CommandContext:
    from secondlook.config import load_settings

    if config is None and state is not None:
        facts = last_run(state)
        if facts is not None and isinstance(facts.get("invocation"), dict):
            known = facts["invocation"]
            path = Path(known["config"]) if known["config"] else None
            if path is None or path.is_file():
                return CommandContext(load_settings(path, overrides=known["overrides"], state=state), path)
    found, own_state = find_config(config)
    folder = state if state is not None else own_state
    return CommandContext(load_settings(found, state=folder), found)


def known_context(config: Path | None, state: Path | None) -> CommandContext:
    """Find settings and state for a command that only reads: where nothing is, it makes nothing."""
    context = open_context(config, state)
    kept_there = context.settings.ledger.url == "default"
    if kept_there and not is_of_a_proxy(context.state):
        fail(
            f"nothing of Second Look is in {context.state}",
            hint=f"start the proxy with `{typed('run')}`, or name its state folder with --state",
        )
    return context


def leave_to_owner(state: Path) -> None:
    """Have what root makes in the state of another user, such as a service, be that one's at the end."""
    with suppress(OSError):
        if os.geteuid() == 0 and state.stat().st_uid:
            atexit.register(_give, state)


def _give(state: Path) -> None:
    with suppress(FileNotFoundError):  # it may have been moved away meanwhile
        give_to_owner(state, state)


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
        at = datetime.fromisoformat(text)
    except ValueError:
        if text.isdecimal() and len(text) < SHORTEST_DATE:
            wanted = f"expected a unit after the number: {text}m, {text}h or {text}d"
            raise ConfigError(f"{option}: {wanted}") from None
        raise ConfigError(
            f"{option}: expected how long ago (1d) or when (2026-01-31T12:00:00Z), got {text!r}"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


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


class UnusableStateError(SecondLookError):
    """The state folder cannot be written."""
