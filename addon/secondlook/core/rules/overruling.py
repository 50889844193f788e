"""What a new rule meets among those that are there: one that decides in its place, or contradicts it."""

from collections.abc import Iterable

from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import FileSubject, Subject
from secondlook.core.url.canonical import Suffixes, url_subject


def contrary(old: Rule, rule: Rule) -> bool:
    """Return whether an older rule contradicts it about the same subject and client.

    One that stands in the configuration does not count: it can only be changed there.
    """
    same = (old.scope, old.subject, old.client) == (rule.scope, rule.subject, rule.client)
    return same and old.action != rule.action and old.source != "config"


def overruling(rule: Rule, rules: Iterable[Rule], now: float, suffixes: Suffixes) -> Rule | None:
    """Return the rule that decides in place of a new one about the very thing that it names, if one does."""
    if rule.scope is Scope.REGEX:
        return None
    subject: Subject
    if rule.scope is Scope.SHA256:
        subject = FileSubject((bytes.fromhex(rule.subject),))
    else:
        url = rule.subject if "://" in rule.subject else f"http://{rule.subject}/"
        subject = url_subject(url, suffixes)
    decides = RuleBook(rules).match(subject, rule.client, rule.client, now)
    return decides if decides is not None and decides.action != rule.action else None
