"""Making an operator's rule, for `allow` and `block`."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from secondlook.cli.options import UnusableStateError, open_place, seconds_from, writable_state
from secondlook.cli.output import fail, print_json, print_line
from secondlook.core.client import client_name
from secondlook.core.rule import Rule
from secondlook.core.rulesubject import RuleSubjectError, parse_subject
from secondlook.ledger.shape import rfc3339, rule_json, rule_subject
from secondlook.run.opening import open_ledger


def client_from(text: str | None) -> str | None:
    """Bring a client given on the command line into its shortest form."""
    return None if text is None else client_name(text)


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
        scope, normal = parse_subject(subject)
    except RuleSubjectError as error:
        fail(str(error), hint="see `secondlook allow --help` for what a subject may be", status=2)
    lasts = seconds_from(duration, "--for")
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
        client=client_from(client),
        reason=reason,
        created=now,
        expires=None if lasts is None else now + lasts,
    )
    ledger = open_ledger(place.settings, background=False)
    try:
        same = [
            known
            for known in ledger.list_rules()
            if (known.action, known.scope, known.subject, known.client, known.source)
            == (rule.action, rule.scope, rule.subject, rule.client, rule.source)
        ]
        # said again: the newest reason and time count, and there is one rule
        rule = ledger.add_rule(replace(rule, id=same[0].id, hits=same[0].hits) if same else rule)
    finally:
        ledger.close()
    if as_json:
        print_json(rule_json(rule))
        return
    told = f"{action} {rule_subject(rule)} ({rule.scope.value})"
    if rule.client:
        told += f" for {rule.client}"
    if rule.expires is not None:
        told += f" until {rfc3339(rule.expires)}"
    print_line(f"{told}; undo with: secondlook rules remove {rule.id}")
