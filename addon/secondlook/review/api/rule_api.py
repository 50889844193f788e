"""Rules as JSON."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query

from secondlook.review.api.record import Id
from secondlook.review.api.rule_records import BacktestRecord, ExportedRule, NewRule, RuleRecord
from secondlook.review.operations.operations import Operations
from secondlook.review.operations.rule_operations import MOST_RULES_IMPORTED


def rule_routes(api: APIRouter, operations: Operations) -> None:
    """Add the rules."""

    @api.get("/rules")
    async def rules() -> list[RuleRecord]:
        """Return all rules."""
        return [RuleRecord.model_validate(rule) for rule in await operations.rules.all()]

    @api.post("/rules", status_code=201)
    async def add_rule(rule: NewRule) -> RuleRecord:
        """Make a rule; it is in force within a second."""
        made = await operations.rules.add(
            rule.action, rule.subject, for_s=rule.for_s, client=rule.client, reason=rule.reason
        )
        return RuleRecord.model_validate(made)

    @api.post("/rules/import", status_code=204)
    async def import_rules(
        rules: Annotated[list[ExportedRule], Body(max_length=MOST_RULES_IMPORTED)],
    ) -> None:
        """Add rules as `GET /rules` gives them, all of them or none."""
        await operations.rules.import_all([rule.model_dump() for rule in rules])

    @api.delete("/rules/{rule_id}", status_code=204)
    async def remove_rule(rule_id: Id) -> None:
        """Remove a rule."""
        await operations.rules.remove(rule_id)

    @api.get("/rules/test")
    async def test_rules(url: Annotated[str, Query(min_length=1, max_length=8192)]) -> list[RuleRecord]:
        """Return every rule that fires for a URL, the deciding one first."""
        return [RuleRecord.model_validate(rule) for rule in await operations.rules.firing(url)]

    @api.get("/rules/backtest")
    async def backtest(
        rule: Annotated[str, Query(min_length=1, max_length=4096)],
        days: Annotated[int, Query(ge=1, le=90)] = 7,
        action: Literal["allow", "block"] = "block",
    ) -> BacktestRecord:
        """Return what a rule, a list or a level would have changed in the last days of the log."""
        return BacktestRecord.model_validate(await operations.rules.backtest(rule, days, action))
