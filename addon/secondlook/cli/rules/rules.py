"""`secondlook rules`: list, remove, test and back-test the operator's rules."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.completion import completed, id_argument
from secondlook.cli.context import CommandContext, lists, with_known_context
from secondlook.cli.options import AsClientOption, Text, instant_from, option
from secondlook.cli.output import (
    fail,
    fail_as_none_of,
    print_json,
    print_line,
    print_list,
    print_table,
    time_text,
)
from secondlook.core.rules.policy import Level
from secondlook.core.rules.rule import Rule
from secondlook.core.verdict import Action
from secondlook.server.store.names import BASE_LISTS

if TYPE_CHECKING:
    from secondlook.agent.backtest import BacktestReport, ProposedChange
    from secondlook.core.subject import Subject
    from secondlook.ledger.ledger import Ledger

app = typer.Typer(add_completion=False, help="List, remove and try the operator's rules.")
COLUMNS = ("id", "action", "subject", "scope", "client", "expires", "hits", "reason")
SPARE = ("scope", "hits", "client")  # what a narrow terminal does without
_SHA256_HEX = 64


@lists(app)
def list_rules(ledger: "Ledger", *, utc: bool, as_json: bool) -> None:
    """List all rules, expired ones included until they are swept."""
    empty = f"no rules; make one with `{typed('allow')}` or `{typed('block')}`"
    _print_rules(ledger.rules.all(), utc=utc, as_json=as_json, empty=empty)


@app.command()
@with_known_context
def remove(
    context: CommandContext,
    rule_id: Annotated[
        str, id_argument(lambda ledger: (rule.id for rule in ledger.rules.all()), "rules list")
    ],
) -> None:
    """Remove a rule; in force within a second."""
    with context.ledger() as ledger:
        if not ledger.rules.remove(rule_id):
            fail(f"there is no rule {rule_id}", hint=f"`{typed('rules list')}` shows them with their ids")
    context.report({"removed": rule_id}, f"removed {rule_id}")


@app.command("test")
@with_known_context
def try_rules(
    context: CommandContext,
    text: Annotated[str, typer.Argument(metavar="URL", help="A URL, or the SHA-256 of a file.")],
    client: AsClientOption = None,
) -> None:
    """Show which rules fire for a URL or file, the one that decides first."""
    from secondlook.core.rules.rulebook import RuleBook
    from secondlook.run.assembly.check.policies import config_rules

    if not text.strip():
        fail("expected a URL or the SHA-256 of a file, got nothing", status=2)
    now = time.time()
    with context.ledger_to_read() as ledger:
        known = {rule.id: rule for rule in ledger.rules.all()}
    for rule in config_rules(context.settings, now):
        known.setdefault(rule.id, rule)
    book = RuleBook(known.values())
    fired = book.explain(_subject(text), client, client, now)
    _print_rules(fired, utc=False, as_json=context.as_json, empty="no rule fires: lists and servers decide")


@app.command()
@with_known_context
def backtest(
    context: CommandContext,
    tried: Annotated[
        Text,
        typer.Argument(
            metavar="[SUBJECT]",
            help="A rule to try, the name of a list in force, or a level; without it: all present rules.",
            autocompletion=completed((*Level, *BASE_LISTS)),
        ),
    ] = None,
    action: Annotated[
        str,
        option("--action", "allow|block", "Of the rule to try.", completed((Action.ALLOW, Action.BLOCK))),
    ] = "block",
    since: Annotated[str, option("--since", "1d|TIME", "Of the log.")] = "7d",
) -> None:
    """Show what a rule, a list or a level would have changed in the logged traffic of the last days.

    The log holds what was blocked and flagged, and what was allowed where `log.all` is on.
    """
    from secondlook.agent.backtest import RuleChange
    from secondlook.agent.pattern.files import load_pattern
    from secondlook.core.rules.rulebook import RuleBook
    from secondlook.run.assembly.answers.backtesting import change_from, report_json, run_backtest
    from secondlook.suffix import load_suffixes

    if action not in {"allow", "block"}:
        fail_as_none_of("--action", ("allow", "block"), action)
    now = time.time()
    started = instant_from(since, "--since")
    assert started is not None
    change: ProposedChange
    with context.ledger_to_read() as ledger:
        try:
            if tried is None:
                change = RuleChange(RuleBook(ledger.rules.all()))
            else:
                level = Level(context.settings.policy.level)
                change = change_from(tried, load_pattern(context.settings.state), level, now, action=action)
            report = run_backtest(ledger.events, change, load_suffixes(), since=started)
        except ValueError as error:
            fail(str(error), status=2)
    if context.as_json:
        print_json(report_json(report))
    else:
        _print_report(report)


def _print_report(report: "BacktestReport") -> None:
    from secondlook.run.assembly.answers.backtesting import HOSTS_SHOWN

    print_line(
        f"of {report.visits:,} logged checks {report.newly_blocked:,} would be blocked in addition, "
        f"{report.newly_allowed:,} no longer"
    )
    for title, hosts in (("blocked in addition", report.hosts), ("no longer blocked", report.allowed_hosts)):
        if hosts:
            print_table(
                ("times", title), ((count, host) for host, count in hosts.most_common(HOSTS_SHOWN)), empty=""
            )
    if report.unreadable:
        print_line(f"{report.unreadable:,} could not be judged: the log keeps too little of them")


def _subject(text: str) -> "Subject":
    from secondlook.core.subject import FileSubject
    from secondlook.core.url.canonical import url_subject
    from secondlook.suffix import load_suffixes

    if len(text) == _SHA256_HEX and all(digit in "0123456789abcdefABCDEF" for digit in text):
        return FileSubject((bytes.fromhex(text),))
    return url_subject(text, load_suffixes())


def _print_rules(rules: Iterable[Rule], *, utc: bool, as_json: bool, empty: str) -> None:
    from secondlook.ledger.log.shape import rule_json, rule_subject

    def row(rule: Rule) -> tuple[object, ...]:
        return (
            rule.id,
            rule.action,
            rule_subject(rule),
            rule.scope,
            rule.client,
            time_text(rule.expires, utc=utc) or "never",
            rule.hits,
            rule.reason,
        )

    print_list(rules, rule_json, COLUMNS, row, as_json=as_json, empty=empty, spare=SPARE)
