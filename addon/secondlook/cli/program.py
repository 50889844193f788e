"""The commands of `secondlook`, each in its own module, imported when it is called."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from secondlook.cli.output import fail
from secondlook.cli.parameters import with_plain_parameters
from secondlook.ground.errors import ConfigError, SecondLookError

# name: (module below `cli`, one line of help); the order is the order of `secondlook --help`
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("operation.run", "Start the proxy with all its parts."),
    "reload": ("operation.reload", "Read the configuration again and wait until it is in force."),
    "status": ("operation.status", "Show on one screen how protection is doing."),
    "doctor": ("operation.doctor", "Look for problems and show how to mend them."),
    "check": ("checking.check", "Check URLs, files or digests and explain the decision."),
    "scan": ("checking.scan", "Look through files and folders, and put away what is bad."),
    "log": ("records.log", "Show the event log, newest last."),
    "queue": ("records.queue", "Show what waits for its second look, or look now."),
    "allow": ("rules.allow", "Allow a URL, host or file, also one that is listed."),
    "block": ("rules.block", "Block a URL, host or file, also one on no list."),
    "rules": ("rules.rules", "List, remove and try the operator's rules."),
    "pause": ("operation.pause", "Switch protection off for some minutes, visibly."),
    "resume": ("operation.resume", "Switch paused protection on again."),
    "pattern": ("operation.pattern", "Show, update, verify or roll back the local pattern."),
    "quarantine": ("records.quarantine", "List, restore or delete quarantined files."),
    "backup": ("backup.backup", "Write a backup of everything into one file; the proxy may run."),
    "restore": ("backup.restore", "Put a backup in the place of the state, or check it."),
    "setup": ("setup.setup", "Trust the CA, set up browsers and the system proxy, undo it all."),
    "helper": ("operation.helper", "Answer Squid's questions about URLs (external_acl_type)."),
    "password": ("operation.password", "Make the hash of a password for the configuration."),
    "notify": ("operation.notify", "Try the notices."),
    "server": ("server", "Run and feed a Smart Protection Server."),
}


class LazyGroup(TyperGroup):
    """A group that imports a command's module only when that command is wanted."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = dict.fromkeys(COMMANDS, self)  # for "did you mean": only the names are looked at

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
        """Name the commands in their order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one command; one that is only listed comes with its help line alone."""
        if cmd_name not in COMMANDS:
            return None
        module, help_line = COMMANDS[cmd_name]
        if _wanted(_completed() if ctx.resilient_parsing else sys.argv[1:]) == cmd_name:
            command = with_plain_parameters(
                get_command(importlib.import_module(f"secondlook.cli.{module}").app)
            )
            bare = command.no_args_is_help and sys.argv[-1] == cmd_name
            if bare or not {"-h", "--help"}.isdisjoint(sys.argv):
                from secondlook.cli.examples import with_examples

                with_examples(command, cmd_name)
        else:
            listed = typer.Typer(add_completion=False)
            listed.command(help=help_line, short_help=help_line)(_main)
            command = get_command(listed)
        command.name = cmd_name
        return command


def _join_values() -> None:
    """Make two words of `--kind = blo`, the three that bash makes of `--kind=blo` when it completes."""
    words, at = os.environ.get("COMP_WORDS", "").split("\n"), os.environ.get("COMP_CWORD", "")
    if not at.isdecimal():
        return
    last = int(at)
    for context in [
        context for context, word in enumerate(words) if word == "=" and words[context - 1][:2] == "--"
    ][::-1]:
        if context == last:
            words[context] = ""
        else:
            del words[context]
            last -= context < last
    os.environ.update(COMP_WORDS="\n".join(words), COMP_CWORD=str(last))


def _completed() -> list[str]:
    """Return what is typed of a command line that a shell completes: bash and the others give it apart."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return line.split()[1:]


def _wanted(arguments: Sequence[str]) -> str | None:
    return next((argument for argument in arguments if not argument.startswith("-")), None)


app = typer.Typer(
    cls=LazyGroup,
    name="secondlook",
    no_args_is_help=True,
    help="A web proxy that checks every URL and every download, and looks twice.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(value: bool) -> None:  # a Typer callback
    if value:
        from importlib.metadata import version

        typer.echo(f"secondlook {version('secondlook')}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


def run(arguments: Sequence[str]) -> None:
    """Run a command here; errors of ours are printed in one line, with status 1 (2 for a configuration)."""
    _join_values()
    try:
        with_plain_parameters(get_command(app))(prog_name="secondlook", args=list(arguments))
    except ConfigError as error:
        fail(str(error), status=2)
    except SecondLookError as error:
        fail(str(error))
    except RuntimeError as error:
        if "home directory" not in str(error):
            raise
        fail(f"{error}", hint="set HOME, or name the configuration with -c and its folder with --state")
