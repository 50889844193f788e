"""What shells can complete: values out of a fixed set, and ids out of the ledger."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from secondlook.cli.options import open_context
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


def completed_id(ids: "Callable[[Ledger], Iterable[str]]") -> Callable[[typer.Context, str], list[str]]:
    """Complete an id that is in the ledger; where nothing is kept, it makes nothing and knows none."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        config, state = (ctx.params.get(name) for name in ("config", "state"))
        try:
            context = open_context(config and Path(config), state and Path(state))
            if context.settings.ledger.url == "default" and not is_of_a_proxy(context.state):
                return []
            with context.ledger_to_read() as ledger:
                return [found for found in ids(ledger) if found.startswith(incomplete)][:MOST_IDS]
        except (SecondLookError, OSError):
            return []

    return complete
