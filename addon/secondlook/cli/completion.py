"""What shells can complete: values out of a fixed set, and ids out of the ledger."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from secondlook.cli.context import CommandContext
from secondlook.cli.options import Texts
from secondlook.cli.output import fail_as_none_of
from secondlook.ground.errors import SecondLookError
from secondlook.run.supervisor.runfile import is_of_a_proxy

if TYPE_CHECKING:
    from secondlook.ledger.ledger import Ledger

MOST_IDS = 100


def completed(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Complete a value out of a fixed set; after a comma, one more of them."""
    known = tuple(words)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{word}" for word in known if word.startswith(last)]

    return complete


def some_of(known: Iterable[str], metavar: str, text: str = "") -> Any:
    """Declare an option for words out of a fixed set, repeated or with commas between; others are refused."""
    words = tuple(known)

    def read(param: typer.CallbackParam, given: Texts) -> Texts:
        if not given:
            return None
        chosen = [word.strip() for each in given for word in each.split(",") if word.strip()]
        if not chosen:
            fail_as_none_of(param.opts[0], words, "nothing")
        for word in chosen:
            if word not in words:
                fail_as_none_of(param.opts[0], words, word)
        return chosen

    return typer.Option(
        metavar=metavar, help=text or ", ".join(words), autocompletion=completed(words), callback=read
    )


def id_argument(ids: "Callable[[Ledger], Iterable[str]]", command: str) -> Any:
    """Declare an argument for an id out of the ledger, as a command shows it."""
    return typer.Argument(metavar="ID", help=f"As `{command}` shows it.", autocompletion=_completed_id(ids))


def _completed_id(ids: "Callable[[Ledger], Iterable[str]]") -> Callable[[typer.Context, str], list[str]]:
    """Complete an id that is in the ledger; where nothing is kept, it makes nothing and knows none."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        config, state = (ctx.params.get(name) for name in ("config", "state"))
        try:
            context = CommandContext(config and Path(config), state and Path(state))
            if context.settings.ledger.url == "default" and not is_of_a_proxy(context.state):
                return []
            with context.ledger_to_read() as ledger:
                return [found for found in ids(ledger) if found.startswith(incomplete)][:MOST_IDS]
        except (SecondLookError, OSError):
            return []

    return complete
