"""The operator's rules, matched by the precedence of the query process, stage 1.

```
client-scoped  over  all clients
    SHA-256  >  exact URL  >  path prefix  >  host  >  parent host  >  regular expression
        a longer prefix over a shorter one, a nearer parent host over a farther one
            on a tie allow wins
```

Rules that are expired, or made for other clients, do not count. Scheme, port, user and fragment take no
part, so rules are kept by expression (`host/path` text). Looking up costs a few dictionary accesses
whatever the number of rules.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from secondlook.core.rules.client import names_client
from secondlook.core.rules.regex import RegexError, RegexSet, check_regex
from secondlook.core.rules.rule import SET_BACK_S, Rule, Scope
from secondlook.core.subject import FileSubject, Subject, UrlSubject
from secondlook.core.url.canonical import url_subject
from secondlook.core.url.expression import Suffixes

MEMBER: Final = "member:"  # label of a hash that is only part of a file

type _Index = dict[str, list[Rule]]


class RuleBook:
    """An immutable set of rules; `unusable` are those whose subject can no longer be read."""

    __slots__ = ("_common", "_personal", "rules", "unusable")

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._personal = _Shelf(rule for rule in self.rules if rule.client is not None)
        self._common = _Shelf(rule for rule in self.rules if rule.client is None)
        self.unusable = (*self._personal.unusable, *self._common.unusable)

    def __len__(self) -> int:
        return len(self.rules)

    def match(self, subject: Subject, client: str | None, user: str | None, now: float) -> Rule | None:
        """The rule that decides about a subject for a client, or None; `now` is Unix seconds."""
        for shelf in (self._personal, self._common):
            if shelf.empty:
                continue
            for tied in shelf.candidates(subject):
                counting = [rule for rule in tied if _counts(rule, client, user, now)]
                if counting:
                    return min(counting, key=_allow_first)
        return None

    def explain(self, subject: Subject, client: str | None, user: str | None, now: float) -> tuple[Rule, ...]:
        """Every rule that fires, the one that decides first."""
        return tuple(
            rule
            for shelf in (self._personal, self._common)
            for tied in shelf.candidates(subject)
            for rule in sorted(tied, key=_allow_first)
            if _counts(rule, client, user, now)
        )


def _allow_first(rule: Rule) -> bool:
    return rule.action != "allow"


def _counts(rule: Rule, client: str | None, user: str | None, now: float) -> bool:
    return is_in_force(rule, now) and (rule.client is None or names_client(rule.client, client, user))


def is_in_force(rule: Rule, now: float) -> bool:
    """Return whether a rule counts now; a timed one from the future predates a clock that was set back."""
    return rule.expires is None or rule.created - SET_BACK_S <= now < rule.expires


class _Shelf:
    """Rules by what they are about; `candidates` gives those that fit in groups of equal precedence."""

    __slots__ = (
        "_files",
        "_hosts",
        "_parents",
        "_prefix_lengths",
        "_prefixes",
        "_regex",
        "_regex_rules",
        "_urls",
        "empty",
        "unusable",
    )

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._files: _Index = {}
        self._urls: _Index = {}
        self._prefixes: _Index = {}
        self._hosts: _Index = {}
        self._parents: _Index = {}
        self._regex_rules: list[Rule] = []
        self.unusable: list[Rule] = []
        self.empty = True
        for rule in rules:
            self.empty = False
            self._add(rule)
        self._prefix_lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)
        self._regex = RegexSet([rule.subject for rule in self._regex_rules]) if self._regex_rules else None

    def _add(self, rule: Rule) -> None:
        match rule.scope:
            case Scope.SHA256:
                self._files.setdefault(rule.subject, []).append(rule)
            case Scope.URL:
                self._urls.setdefault(expression_of(rule.subject), []).append(rule)
            case Scope.PREFIX:
                self._prefixes.setdefault(expression_of(rule.subject), []).append(rule)
            case Scope.HOST:
                self._hosts.setdefault(rule.subject, []).append(rule)
            case Scope.DOMAIN:
                self._hosts.setdefault(rule.subject, []).append(rule)
                self._parents.setdefault(rule.subject, []).append(rule)
            case Scope.REGEX:
                try:
                    check_regex(rule.subject)
                except RegexError:
                    self.unusable.append(rule)
                else:
                    self._regex_rules.append(rule)

    def candidates(self, subject: Subject) -> Iterator[list[Rule]]:
        """Groups of rules about this subject, strongest first; within a group all are equal."""
        match subject:
            case FileSubject():
                if self._files:
                    yield self._about_file(subject)
            case UrlSubject():
                yield from self._about_url(subject)

    def _about_file(self, subject: FileSubject) -> list[Rule]:
        """A block about a member of an archive blocks it; an allow must be about the file itself."""
        return [
            rule
            for full_hash, label in zip(subject.hashes, subject.labels, strict=True)
            for rule in self._files.get(full_hash.hex(), ())
            if rule.action == "block" or not label.startswith(MEMBER)
        ]

    def _about_url(self, subject: UrlSubject) -> Iterator[list[Rule]]:
        exact = subject.expressions[0]
        found = self._urls.get(exact)
        if found is not None:
            yield found
        for length in self._prefix_lengths:
            found = self._prefixes.get(exact[:length])
            if found is not None:
                yield found
        yield from self._about_host(subject.host)
        if self._regex is not None:
            numbers = self._regex.search(subject.canonical)
            if numbers:
                yield [self._regex_rules[number] for number in sorted(numbers)]

    def _about_host(self, host: str) -> Iterator[list[Rule]]:
        found = self._hosts.get(host)
        if found is not None:
            yield found
        dot = host.find(".") if self._parents else -1
        while dot >= 0:
            found = self._parents.get(host[dot + 1 :])
            if found is not None:
                yield found
            dot = host.find(".", dot + 1)


def expression_of(canonical: str) -> str:
    """The `host/path` text of a canonical URL."""
    return canonical.partition("://")[2] or canonical


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
