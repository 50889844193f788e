"""The settings page as JSON: what the file holds, a change as a difference, writing it, and its outcome."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints
from starlette.concurrency import run_in_threadpool

from secondlook.review.api.record import Record
from secondlook.review.operations.operations import Operations

type Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
type Values = Annotated[dict[str, Annotated[str, StringConstraints(max_length=2000)]], Field(max_length=32)]


class NewChange(Record):
    """A change; `values` as the forms send them, such as `{"name": "urlhaus", "enabled": "false"}`."""

    what: Literal["add-feed", "switch-feed", "policy", "add-group", "group"]
    values: Values


class ChosenChange(NewChange):
    """A change to be written; `digest` as its preview gave it."""

    digest: Digest


class FeedToTry(Record):
    """A feed as the form has it: name, url, threat, risk, format."""

    values: Values


class Difference(Record):
    """What a change does, as a unified difference.

    `warning`: what follows of it that is not seen there; `not_written`: why it has to be done by hand.
    """

    effect: str
    warning: str | None
    difference: str
    digest: str
    file: str
    not_written: str | None


class Begun(Record):
    """What to ask the outcome with."""

    readings: int
    file: str


class Outcome(Record):
    """Whether a change is in force."""

    state: Literal["reading", "in_force", "refused"]
    why: str | None
    workers: int


class TriedFeed(Record):
    """What a feed would bring; nothing of it was kept."""

    format: str
    accepted: int
    distinct: int
    size_bytes: int
    rejected: dict[str, int]
    lists: dict[str, int]
    rejects: list[tuple[int, str, str]]  # line, class, text
    refused: str | None


class SettingsFacts(Record):
    """What the settings file holds of feeds, policy and groups."""

    file: str
    digest: str
    off: bool
    not_written: str | None
    overrides: list[str]
    feeds: list[dict[str, str | bool]]
    policy: dict[str, str | bool]
    groups: list[dict[str, str | list[str] | None]]


def settings_routes(api: APIRouter, operations: Operations) -> None:
    """Add the routes under `/settings`."""
    editor = operations.program.editor

    @api.get("/settings")
    async def settings() -> SettingsFacts:
        """Return what the settings file holds of feeds, policy and groups."""
        return SettingsFacts.model_validate(await run_in_threadpool(editor.facts))

    @api.post("/settings/preview")
    async def preview(asked: NewChange) -> Difference:
        """Return what a change would do to the file; nothing is written."""
        return Difference.model_validate(await run_in_threadpool(editor.preview, asked.what, asked.values))

    @api.post("/settings", status_code=202)
    async def apply(asked: ChosenChange, request: Request) -> Begun:
        """Write a change that was previewed, and have the proxy read it."""
        who = request.client.host if request.client else None
        made = await run_in_threadpool(editor.apply, asked.what, asked.values, asked.digest, who)
        return Begun.model_validate(made)

    @api.get("/settings/outcome")
    async def outcome(
        readings: Annotated[int, Query(ge=0, le=999_999_999)], file: Annotated[Digest, Query()]
    ) -> Outcome:
        """Return whether a change is in force in every worker."""
        return Outcome.model_validate(await run_in_threadpool(editor.outcome, readings, file))

    @api.post("/settings/try-feed")
    async def try_feed(asked: FeedToTry) -> TriedFeed:
        """Fetch a feed and count its entries and rejects; nothing is kept."""
        return TriedFeed.model_validate(await editor.try_feed(asked.values))
