"""Rules: made, removed, tested, back-tested and imported."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from secondlook.core.rules.rule import LONGEST_RULE_S, SHORTEST_S, Rule
from secondlook.core.rules.rulebook import RuleBook, overruling
from secondlook.core.rules.subject import parse_subject
from secondlook.ground.clock import Clock
from secondlook.ground.instant import read_instant
from secondlook.ledger.ledger import Ledger
from secondlook.ledger.log.shape import rule_json
from secondlook.ledger.operator.rule_table import Placed
from secondlook.review import words
from secondlook.review.operations.log_operations import LogOperations
from secondlook.review.operations.refused import Missing, Refused, named_client
from secondlook.review.program import Json, RunningProgram
from secondlook.suffix import load_suffixes

MOST_CHOSEN = 200
MOST_UNDOABLE = 1_000
TWICE_S = 5.0  # within which a form that came again is one click too many
MOST_RULES_IMPORTED = 100_000
CONFIG_SOURCE = "config"
RULE_SOURCES = ("operator", "override", "quarantine", CONFIG_SOURCE)


def _text(value: object) -> str | None:
    """Read an optional text of an import. Raises ValueError."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {str(value)[:80]}")  # noqa: TRY004 (reported as a bad value)
    return value


def _seconds(value: object) -> float | None:
    """Read how long a rule of an import holds. Raises ValueError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"for_s: expected seconds, got {str(value)[:80]}")  # noqa: TRY004 (a bad value)
    try:
        return float(value)
    except OverflowError:
        raise ValueError("for_s: that is more seconds than can be counted") from None


def _moment(value: object) -> float | None:
    """Read an optional instant of an import. Raises ValueError."""
    return None if value is None else read_instant(str(value))


def _same_decision(first: Rule, placed: Placed) -> bool:
    """Whether a rule took the place of another because its form was sent twice: both are undone together."""
    again, older = placed.rule, placed.older
    if older is None or older.created != first.created or again.created - first.created > TWICE_S:
        return False
    return (again.reason, _lasts_s(again)) == (first.reason, _lasts_s(first))


def _lasts_s(rule: Rule) -> int | None:
    return None if rule.expires is None else round(rule.expires - rule.created)


class RuleOperations:
    """Reads and changes the rules."""

    def __init__(self, ledger: Ledger, program: RunningProgram, log: LogOperations, clock: Clock) -> None:
        self._ledger = ledger
        self._program = program
        self._log = log
        self._clock = clock
        self._placed: dict[str, Placed] = {}  # the latest that were made here, by id: what `undo` puts back

    async def all(self) -> list[Json]:
        """Return all rules."""
        return [rule_json(rule) for rule in await self._ledger.run(self._ledger.rules.all)]

    async def add(
        self, action: str, subject: str, *, for_s: float | None, client: str | None, reason: str | None
    ) -> Json:
        """Make a rule."""
        self._lasting(for_s)
        rule = self._rule(action, subject, for_s=for_s, client=client, reason=reason)
        return (await self._make([rule]))[0]

    async def decide(
        self, event_ids: Sequence[str], action: str, *, hosts: bool, for_s: float | None
    ) -> list[Json]:
        """Make a rule for each of some events, all of them or none: for what it is about, or its host."""
        if not event_ids:
            raise Refused("nothing was chosen: tick the entries that are meant")
        if len(event_ids) > MOST_CHOSEN:
            raise Refused(f"expected at most {MOST_CHOSEN} entries, got {len(event_ids)}")
        self._lasting(for_s)
        rules: dict[tuple[str, str], Rule] = {}
        for event_id in event_ids:
            event = await self._log.find(event_id)
            choices = () if event is None or event.get("stage") in words.UNLIFTED else words.choices(event)
            if not choices:
                raise Refused(f"no rule can be made from the entry {event_id[:80]!r}: nothing was changed")
            chosen = choices[-1 if hosts else 0]["subject"]
            rule = self._rule(action, chosen, for_s=for_s, client=None, reason=None)
            rules[rule.scope, rule.subject] = rule
        return await self._make(list(rules.values()))

    async def _make(self, rules: Sequence[Rule]) -> list[Json]:
        placed = await self._ledger.run(self._ledger.rules.place, rules)
        for each in placed:
            before = self._placed.pop(each.rule.id, None)
            twice = before is not None and _same_decision(before.rule, each)
            self._placed[each.rule.id] = replace(each, older=before.older) if before and twice else each
        while len(self._placed) > MOST_UNDOABLE:
            del self._placed[next(iter(self._placed))]
        return [rule_json(each.rule) for each in placed]

    def _lasting(self, for_s: float | None) -> None:
        if for_s is not None and not SHORTEST_S <= for_s <= LONGEST_RULE_S:
            raise Refused(f"expected a time from 1 s to ten years, got {for_s:g} s", "for")

    def _rule(
        self, action: str, text: str, *, for_s: float | None, client: str | None, reason: str | None
    ) -> Rule:
        if action not in ("allow", "block"):
            raise Refused(f"rule: expected allow or block, got {action!r}")
        now = self._clock.now()
        try:
            scope, subject = parse_subject(text, load_suffixes())
        except ValueError as error:
            raise Refused(str(error), "subject") from None
        return Rule(
            id="",
            action="allow" if action == "allow" else "block",
            scope=scope,
            subject=subject,
            client=None if client is None else named_client(client),
            reason=reason,
            created=now,
            expires=None if for_s is None else now + for_s,
        )

    async def made(self, rule_ids: Collection[str]) -> list[Json]:
        """Return those of some rules that are there, each with the one that decides in its place."""
        rules = await self._ledger.run(self._ledger.rules.all)
        return [
            {**rule_json(rule), "overruled_by": None if stronger is None else rule_json(stronger)}
            for rule in rules
            if rule.id in rule_ids
            for stronger in [overruling(rule, rules, self._clock.now(), load_suffixes())]
        ]

    async def remove(self, rule_id: str) -> None:
        """Remove a rule. Raises Missing where there is none."""
        if not await self._ledger.run(self._ledger.rules.remove, rule_id):
            raise Missing("no such rule: it may have been removed or have ended already")

    async def undo(self, *rule_ids: str) -> None:
        """Put back what was before some rules were made: nothing, or the rule that one stands in place of.

        Raises Missing where that can be done for none of them.
        """
        placed = [self._placed[rule_id] for rule_id in rule_ids if rule_id in self._placed]
        done = [await self._ledger.run(self._ledger.rules.take_back, each) for each in placed]
        if not any(done):
            raise Missing(
                "nothing was changed: the rule was changed or removed meanwhile, or made before a restart"
            )

    async def firing(self, url: str) -> list[Json]:
        """Return the rules that fire for a URL, the deciding one first."""
        book = RuleBook(self._ledger.snapshots.rules())
        fired = book.explain(self._program.url_subject(url), client=None, user=None, now=self._clock.now())
        return [rule_json(rule) for rule in fired]

    async def backtest(self, rule: str, days: int, action: str = "block") -> Json:
        """Return what a rule, list or level would have changed in the last days."""
        try:
            report: Json = await self._ledger.run(self._program.backtest, rule, days, action)
        except ValueError as error:
            raise Refused(str(error)) from None
        return report

    async def import_all(self, records: object) -> None:
        """Add rules from an export, all of them or none, with their source and the time they were made.

        Those that have ended meanwhile are left out, and those of a configuration, which come with it.
        """
        if not isinstance(records, list) or len(records) > MOST_RULES_IMPORTED:
            raise Refused(f"import: expected a list of at most {MOST_RULES_IMPORTED:,} rules")
        rules = []
        for number, record in enumerate(records, 1):
            if not isinstance(record, Mapping):
                raise Refused(f"import: rule {number} is not an object")
            try:
                rules.append(self._exported(record))
            except (Refused, ValueError) as error:
                raise Refused(f"import: rule {number}: {error}") from None
        now = self._clock.now()
        lasting = [
            rule
            for rule in rules
            if rule.source != CONFIG_SOURCE and (rule.expires is None or rule.expires > now)
        ]
        await self._ledger.run(self._ledger.rules.add_many, lasting)

    def _exported(self, record: Mapping[str, object]) -> Rule:
        """Read one rule of an export. Raises Refused and ValueError."""
        source = _text(record.get("source")) or "operator"
        if source not in RULE_SOURCES:
            raise Refused(f"source: expected one of {', '.join(RULE_SOURCES)}, got {source[:80]!r}")
        for_s = _seconds(record.get("for_s"))
        self._lasting(for_s)
        rule = self._rule(
            str(record.get("action")),
            str(record.get("subject")),
            for_s=for_s,
            client=_text(record.get("client")),
            reason=_text(record.get("reason")),
        )
        made, ends = _moment(record.get("created")), _moment(record.get("expires"))
        return replace(
            rule,
            source=source,
            created=rule.created if made is None else min(made, rule.created),
            expires=rule.expires if ends is None else ends,
        )
