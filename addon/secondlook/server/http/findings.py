"""`POST /findings`: the report of an agent, read within bounds and only from who has a client token."""

from typing import Protocol

from starlette.requests import ClientDisconnect, Request

from secondlook.server.http.answer import JSON, Answer, error_answer
from secondlook.wire.fault import BadRequest
from secondlook.wire.finding import MAX_REPORT_BYTES, Outcome, Report, dump_outcomes, read_report


class FindingTaker(Protocol):
    """Who decides about findings: this server, or its publisher."""

    @property
    def is_open(self) -> bool:
        """Return whether reports are taken at all."""

    async def take(self, report: Report, address: str) -> list[tuple[Outcome, str | None]]:
        """Decide about each finding of a report of the agent at that address. Raises SecondLookError."""


async def take_report(
    taker: FindingTaker | None, request: Request, address: str, *, has_token: bool
) -> Answer:
    """Answer a report.

    403 where findings are not taken, or without a client token: anybody who reaches the server could
    have something listed. 400 for what is no report.
    """
    if taker is None or not taker.is_open:
        return error_answer(403, "findings are not taken here (findings: off)", as_json=True)
    if not has_token:
        return error_answer(403, "findings are only taken with a client token: set tokens", as_json=True)
    try:
        report = read_report(await _body(request))
    except (BadRequest, ClientDisconnect) as error:
        return error_answer(400, str(error), as_json=True)
    return Answer(200, dump_outcomes(await taker.take(report, address)), JSON)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_REPORT_BYTES:
            raise BadRequest(f"a report has at most {MAX_REPORT_BYTES} bytes")
    return bytes(body)
