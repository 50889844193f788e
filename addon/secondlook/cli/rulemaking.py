"""Making an operator's rule, for `allow` and `block`."""

import re
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from secondlook.cli.options import (
    ConfigOption,
    ForClientOption,
    JsonOption,
    StateOption,
    UnusableStateError,
    open_place,
    seconds_from,
    writable_state,
)
from secondlook.cli.output import fail, print_json, print_line
from secondlook.core.rules.rule import LONGEST_RULE_S, SHORTEST_S, Rule
from secondlook.core.rules.subject import RuleSubjectError, parse_subject
from secondlook.ledger.log.shape import rfc3339, rule_json, rule_subject
from secondlook.suffix import load_suffixes


def rule_app(action: Literal["allow", "block"]) -> typer.Typer:
    """Make the command of an action."""
    app = typer.Typer(add_completion=False)

    @app.command(
        help=f"{action.capitalize()} a URL, host or file whatever the lists say; in force within a second."
        "\n\n"
        "SUBJECT is a host (with its subdomains), =host (it alone), a URL ending in / (that and all below), "
        "another URL (exactly that), /a regular expression/ on the canonical form, or the SHA-256 of a file."
    )
    def make(
        subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="See above.", show_default=False)],
        duration: Annotated[
            str | None,
            typer.Option("--for", metavar="DURATION", help="For so long (10m, 1h, 1d); default: always."),
        ] = None,
        client: ForClientOption = None,
        reason: Annotated[
            str | None, typer.Option("--reason", metavar="TEXT", help="Shown wherever it is.")
        ] = None,
        config: ConfigOption = None,
        state: StateOption = None,
        as_json: JsonOption = False,
    ) -> None:
        make_rule(action, subject, duration, client, reason, config, state, as_json=as_json)

    return app


def make_rule(
    action: Literal["allow", "block"],
    subject: str,
    duration: str | None,
    client: str | None,
    reason: str | None,
    config: Path | None,
    state: Path | None,
    *,
    as_json: bool,
) -> None:
    """Write a rule into the ledger and tell it; workers take it up within a second."""
    try:
        scope, normal = parse_subject(subject, load_suffixes())
    except RuleSubjectError as error:
        fail(str(error), hint="see `secondlook allow --help` for what a subject may be", status=2)
    lasts = seconds_from(duration, "--for")
    if lasts is not None and not SHORTEST_S <= lasts <= LONGEST_RULE_S:
        fail(f"--for: expected 1s to 3650d (ten years), got {duration}; without it: always", status=2)
    place = open_place(config, state)
    try:
        writable_state(place.state)
    except UnusableStateError as error:
        fail(str(error))
    now = time.time()
    rule = Rule(
        id="",
        action=action,
        scope=scope,
        subject=normal,
        client=client,
        reason=reason,
        created=now,
        expires=None if lasts is None else now + lasts,
    )
    with place.ledger() as ledger:
        (rule,) = ledger.say_rules([rule])
    if as_json:
        print_json(rule_json(rule))
        return
    told = f"{action} {rule_subject(rule)} ({rule.scope.value})"
    if re.fullmatch(r"=?[^/:\[\]]+:\d+", subject):
        told += " on every port"
    if rule.client:
        told += f" for {rule.client}"
    if rule.expires is not None:
        told += f" until {rfc3339(rule.expires)}"
    print_line(f"{told}; undo with: secondlook rules remove {rule.id}")
