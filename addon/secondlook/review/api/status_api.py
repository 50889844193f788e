"""How the proxy stands, as JSON: protection, clients, checks, lists and servers, quarantine."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from secondlook.review.api.client_records import ClientRecord, ClientStatus, ClientToErase, Erased
from secondlook.review.api.record import ClientName, Id
from secondlook.review.api.rule_records import CheckRecord, NewPause, Resumed
from secondlook.review.api.statistics_records import Statistics
from secondlook.review.api.status_records import (
    FeedStatus,
    ListStatus,
    Overview,
    QuarantineItem,
    ServerStatus,
    SetupFacts,
)
from secondlook.review.operations.operations import Operations


def protection_routes(api: APIRouter, operations: Operations) -> None:
    """Add whether protection is on, and for whom."""

    @api.get("/overview")
    async def overview() -> Overview:
        """Return whether protection is on and what needs attention."""
        return Overview.model_validate(await operations.overview())

    @api.get("/statistics")
    async def statistics(
        range_: Annotated[Literal["1h", "24h", "7d", "30d"], Query(alias="range")] = "24h",
        client: Annotated[ClientName | None, Query()] = None,
    ) -> Statistics:
        """Return counts over time and who and what has most of them, of everybody or of one client."""
        return Statistics.model_validate(await operations.statistics(range_, client))

    @api.get("/clients")
    async def clients(
        range_: Annotated[Literal["1h", "24h", "7d", "30d"], Query(alias="range")] = "7d",
    ) -> list[ClientStatus]:
        """Return the clients of a range of time, the one seen last first."""
        return [ClientStatus.model_validate(each) for each in await operations.clients(range_)]

    @api.get("/clients/{name:path}")
    async def client(name: Annotated[ClientName, Path()]) -> ClientRecord:
        """Return one client: what holds for it, what was made for it, its latest blocks and flags."""
        return ClientRecord.model_validate(await operations.client(name))

    @api.get("/check")
    async def check(
        subject: Annotated[str, Query(min_length=1, max_length=8192)],
        client: Annotated[ClientName | None, Query()] = None,
    ) -> CheckRecord:
        """Check a URL or a digest, as everybody or as one client sees it; writes no event."""
        return CheckRecord.model_validate(await operations.check(subject, client))

    @api.post("/pause", status_code=204)
    async def pause(asked: NewPause) -> None:
        """Pause protection for everybody or one client; it ends by itself."""
        await operations.pause(asked.minutes, asked.client)

    @api.post("/resume", status_code=204)
    async def resume(asked: Resumed | None = None) -> None:
        """End every pause, or those of one client."""
        await operations.resume(asked.client if asked is not None else None)


def data_routes(api: APIRouter, operations: Operations) -> None:
    """Add quarantine, erasing, lists, servers and set-up."""
    for path, answer, shape in (
        ("/quarantine", operations.quarantine, list[QuarantineItem]),
        ("/lists", operations.lists, list[ListStatus]),
        ("/feeds", operations.feeds, list[FeedStatus]),
        ("/setup", operations.setup, SetupFacts),
    ):
        api.add_api_route(path, answer, response_model=shape)

    @api.post("/quarantine/{item_id}/restore", status_code=204)
    async def restore(item_id: Id) -> None:
        """Put a file back where it was, and allow it."""
        await operations.restore(item_id)

    @api.delete("/quarantine/{item_id}", status_code=204)
    async def delete_quarantined(item_id: Id) -> None:
        """Delete a quarantined file for good."""
        await operations.delete_quarantined(item_id)

    @api.post("/clients/erase")
    async def erase_client(asked: ClientToErase) -> Erased:
        """Delete for good what was kept of one client; its rules stay."""
        return Erased(events=await operations.erase_client(asked.client))

    @api.post("/lists/update", status_code=202)
    async def update(force: bool = False) -> None:
        """Fetch the lists now; `force`: also what a rollback gave up."""
        await operations.program.update(force=force)

    @api.get("/servers")
    async def servers() -> list[ServerStatus]:
        """Return the Smart Protection Servers."""
        return [ServerStatus.model_validate(item) for item in operations.program.servers()]
