"""What a command is called with: settings, state folder and ledger, by the options that lead to them."""

import atexit
import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from secondlook.cli.caller import CALLER, typed
from secondlook.cli.installation import find_config
from secondlook.cli.options import ConfigOption, JsonOption, StateOption, UtcOption, enterable_state
from secondlook.cli.output import fail, print_result
from secondlook.ground.files import give_to_owner
from secondlook.run.supervisor.runfile import is_of_a_proxy, last_run

if TYPE_CHECKING:
    from secondlook.config.agent import Settings
    from secondlook.ledger.ledger import Ledger
    from secondlook.run.assembly.answers.answering import Running

type Command = Callable[..., None]


def _with_parameters(function: Command, *parameters: inspect.Parameter) -> None:
    """Have Typer, which reads a command's options from its signature, read these."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in parameters}


def when_bare(group: typer.Typer) -> Callable[[Command], Command]:
    """Make a command also what its group does when called without a command, with the same options."""

    def register(command: Command) -> Command:
        def bare(ctx: typer.Context, **options: Any) -> None:
            if ctx.invoked_subcommand is None:
                command(**options)

        context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        _with_parameters(bare, context, *inspect.signature(command).parameters.values())
        group.callback(invoke_without_command=True)(bare)
        return command

    return register


def called_with(make: Callable[..., object], config: object = ConfigOption) -> Callable[[Command], Command]:
    """Have a command take what it works on, made of the options that every such command has."""
    taken = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in (
            ("config", None, config),
            ("state", None, StateOption),
            ("as_json", False, JsonOption),
        )
    ]

    def register(command: Command) -> Command:
        @wraps(command)
        def called(*, config: Path | None, state: Path | None, as_json: bool, **options: Any) -> None:
            command(make(config, state, as_json=as_json), **options)

        _, *own = inspect.signature(command).parameters.values()
        _with_parameters(called, *own, *taken)
        return called

    return register


class Context:
    """What a command was called with: where its settings and its state are, and how it prints."""

    def __init__(self, config: Path | None, state: Path | None, *, as_json: bool = False) -> None:
        self._given = config, state  # by the options
        self.as_json = as_json

    def report(self, record: Mapping[str, object], *lines: str) -> None:
        """Print what came of the command: a record as JSON, or lines for people."""
        print_result(record, *lines, as_json=self.as_json)


class CommandContext(Context):
    """What a command works on; read when it is first asked for, so that mistakes are answered without.

    All of it raises ConfigError.
    """

    @cached_property
    def _read(self) -> "tuple[Settings, Path | None]":
        if self.running is not None:
            return self.running.settings, self.running.config
        settings, config = _found_settings(*self._given)
        enterable_state(settings.state)
        leave_to_owner(settings.state)
        return settings, config

    @property
    def running(self) -> "Running | None":
        """Whatever is open already, in a proxy that answers the command."""
        caller = CALLER.get()
        return None if caller is None else caller.running

    @property
    def settings(self) -> "Settings":
        """The settings."""
        return self._read[0]

    @property
    def config(self) -> Path | None:
        """The configuration that they were read from."""
        return self._read[1]

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
        """Return the ledger. Raises LedgerError."""
        from secondlook.run.assembly.check.ledger_opening import ledger_of

        return ledger_of(self.settings) if self.running is None else nullcontext(self.running.ledger)

    def ledger_to_read(self) -> AbstractContextManager["Ledger"]:
        """Return the ledger, to write nothing. Raises LedgerError."""
        from secondlook.run.assembly.check.ledger_opening import ledger_to_read

        return ledger_to_read(self.settings) if self.running is None else nullcontext(self.running.ledger)


class KnownContext(CommandContext):
    """What a command works on that only reads: where nothing is, it makes nothing, and ends."""

    @cached_property
    def _read(self) -> "tuple[Settings, Path | None]":
        settings, config = super()._read
        if settings.ledger.url == "default" and not is_of_a_proxy(settings.state):
            fail(
                f"nothing of Second Look is in {settings.state}",
                hint=f"start the proxy with `{typed('run')}`, or name its state folder with --state",
            )
        return settings, config


with_context = called_with(CommandContext)
with_known_context = called_with(KnownContext)


class ListPrinter(Protocol):
    """Prints records of the ledger."""

    def __call__(self, ledger: "Ledger", *, utc: bool, as_json: bool) -> None:
        """Print them all."""


def lists(group: typer.Typer) -> Callable[[ListPrinter], ListPrinter]:
    """Make what prints records of the ledger the command `list` of a group, and the group's own."""

    def register(show: ListPrinter) -> ListPrinter:
        @with_known_context
        def listed(context: CommandContext, utc: UtcOption = False) -> None:
            with context.ledger_to_read() as ledger:
                show(ledger, utc=utc, as_json=context.as_json)

        group.command("list", help=show.__doc__)(when_bare(group)(listed))
        return show

    return register


def _found_settings(config: Path | None, state: Path | None) -> "tuple[Settings, Path | None]":
    """Find settings and where they were read from. Raises ConfigError.

    With `--state` alone they are those of the proxy that runs there or was the last to: another configuration
    would know other servers, and answer wrongly.
    """
    from secondlook.config.source import load_settings

    if config is None and state is not None:
        facts = last_run(state)
        if facts is not None and isinstance(facts.get("invocation"), dict):
            known = facts["invocation"]
            path = Path(known["config"]) if known["config"] else None
            if path is None or path.is_file():
                return load_settings(path, overrides=known["overrides"], state=state), path
    found, own_state = find_config(config)
    folder = state if state is not None else own_state
    return load_settings(found, state=folder), found


def leave_to_owner(state: Path) -> None:
    """Have what root makes in the state of another user, such as a service, be that one's at the end."""
    with suppress(OSError):
        if os.geteuid() == 0 and state.stat().st_uid:
            atexit.register(_give, state)


def _give(state: Path) -> None:
    with suppress(FileNotFoundError):  # it may have been moved away meanwhile
        give_to_owner(state, state)
