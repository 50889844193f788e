"""Making an operator's rule, for `allow` and `block`."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from secondlook.cli.caller import typed
from secondlook.cli.context import CommandContext, with_context
from secondlook.cli.options import ForClientOption, Text, flag, option, seconds_from, writable_state
from secondlook.cli.output import fail, print_json, print_line, time_text
from secondlook.core.rules.rule import LONGEST_RULE_S, SHORTEST_S, Rule, Scope

if TYPE_CHECKING:
    from secondlook.config.agent import Settings


_WHATEVER = {"allow": "also one that is listed", "block": "also one on no list"}
_WITH_PORT = re.compile(
    r"=?\s*(?:[a-z]+://)?(?:[^/?#]*@)?(?:\[[^\]]*\]|[^/?#:\[\]]+):\d+(?:[/?#].*)?", re.IGNORECASE
)


def rule_app(action: Literal["allow", "block"]) -> typer.Typer:
    """Make the command of an action."""
    app = typer.Typer(add_completion=False)

    @app.command(
        help=f"{action.capitalize()} a URL, host or file, {_WHATEVER[action]}; in force within a second."
        "\n\n"
        "SUBJECT is a host (with its subdomains), =host (it alone), a URL ending in / (that and all below), "
        "another URL (exactly that), /a regular expression/ on the canonical form, or the SHA-256 of a file."
    )
    @with_context
    def make(
        context: CommandContext,
        subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="See above.", show_default=False)],
        duration: Annotated[
            Text, option("--for", "DURATION", "For so long (10m, 1h, 1d); default: always.")
        ] = None,
        client: ForClientOption = None,
        reason: Annotated[Text, option("--reason", "TEXT", "Why, for later readers.")] = None,
        replace: Annotated[
            bool, flag("--replace", "Remove rules that say the contrary about the same subject.")
        ] = False,
        report: Annotated[
            bool,
            typer.Option(
                "--report",
                hidden=action == "allow",
                help="Report it to our own servers too, so that it is refused everywhere.",
            ),
        ] = False,
    ) -> None:
        if report and action == "allow":
            fail("--report: only what is blocked can be reported", status=2)
        make_rule(context, action, subject, duration, client, reason, replace=replace, report=report)

    return app


def make_rule(
    context: CommandContext,
    action: Literal["allow", "block"],
    subject: str,
    duration: str | None,
    client: str | None,
    reason: str | None,
    *,
    replace: bool,
    report: bool,
) -> None:
    """Write a rule into the ledger and show it; workers take it up within a second."""
    from secondlook.core.rules.rulebook import contrary, overruling
    from secondlook.core.rules.subject import RuleSubjectError, parse_subject
    from secondlook.ledger.log.shape import rule_json, rule_subject
    from secondlook.suffix import load_suffixes

    try:
        scope, normal = parse_subject(subject, load_suffixes())
    except RuleSubjectError as error:
        fail(str(error), hint=f"see `{typed(f'{action} --help')}` for what a subject may be", status=2)
    lasts = _lasting(duration)
    narrow = scope in {Scope.REGEX, Scope.HOST} or client or lasts
    if report:
        _check_reportable(context.settings, narrow=bool(narrow))
    writable_state(context.state)
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
    with context.ledger() as ledger:
        removed = [old for old in ledger.rules.all() if replace and contrary(old, rule)]
        for old in removed:
            ledger.rules.remove(old.id)
        (rule,) = ledger.rules.add_many([rule])
        stronger = overruling(rule, ledger.rules.all(), now, load_suffixes())
    if report:
        _report(context.state, rule)
    if context.as_json:
        print_json(rule_json(rule) | {"overruled_by": stronger.id if stronger else None})
        return
    for old in removed:
        print_line(f"removed {old.action} {rule_subject(old)} ({old.id})")
    print_line(f"{_in_words(rule, subject)}; undo with: {typed(f'rules remove {rule.id}')}")
    if stronger is not None:
        _warn(stronger, rule, subject)
    if report:
        print_line("it is reported to our own servers; the log has what they do with it")


def _check_reportable(settings: "Settings", *, narrow: bool) -> None:
    if narrow:
        fail(
            "--report: expected a host, a URL or a file, for everybody and for good: lists hold nothing else",
            status=2,
        )
    if all(server.google for server in settings.servers.intranet):
        fail("--report: there is no own server to report to", hint="name one in servers.intranet")


def _report(state: Path, rule: Rule) -> None:
    from secondlook.agent.actions.outbox import Outbox, finding_of

    finding = finding_of(rule.subject, name=rule.reason or "blocked by hand", engine="operator")
    try:
        taken = Outbox(state).put(finding)
    except OSError as error:
        fail(f"the rule is made, but the report is not: {error}")
    if not taken:
        fail("the rule is made, but too many findings wait to be reported already")


def _lasting(duration: str | None) -> float | None:
    """Return the seconds of `--for`; None: always."""
    lasts = seconds_from(duration, "--for")
    if lasts is not None and not SHORTEST_S <= lasts <= LONGEST_RULE_S:
        fail(f"--for: expected 1s to 3650d (ten years), got {duration}; without it: always", status=2)
    return lasts


def _warn(stronger: Rule, rule: Rule, written: str) -> None:
    from secondlook.core.rules.rulebook import contrary
    from secondlook.ledger.log.shape import rule_subject

    until = "always" if stronger.expires is None else f"until {time_text(stronger.expires)}"
    print_line(f"but {stronger.action} {rule_subject(stronger)} wins {until} ({stronger.id})")
    if contrary(stronger, rule):
        print_line(f"  have it removed with: {typed(f'{rule.action} {written} --replace')}")


def _in_words(rule: Rule, written: str) -> str:
    from secondlook.ledger.log.shape import rule_subject

    words = f"{rule.action} {rule_subject(rule)} ({rule.scope.value})"
    if rule.scope is not Scope.REGEX and _WITH_PORT.fullmatch(written.strip()):
        words += " on every port"
    if rule.client:
        words += f" for {rule.client}"
    if rule.expires is not None:
        words += f" until {time_text(rule.expires)}"
    return words
