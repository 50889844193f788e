"""Reporting findings to one Smart Protection Server (`POST /findings`)."""

from typing import Final

from secondlook.lookup.client import ServerClient
from secondlook.lookup.failure import bad_answer
from secondlook.wire.finding import Outcome, Report, dump_report, read_outcomes

TIMEOUT_S: Final = 30.0


class FindingClient:
    """A server that may take findings (`agent.actions.reporter.FindingServer`); owns its connections."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client
        self.name = client.name

    async def report(self, report: Report) -> list[tuple[Outcome, str | None]]:
        """Report, and return what became of each finding. Raises ServerFailure."""
        body = await self._client.post(b"/findings", dump_report(report), timeout_s=TIMEOUT_S)
        try:
            return read_outcomes(body, len(report.findings))
        except ValueError as error:
            raise bad_answer(str(error)) from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
