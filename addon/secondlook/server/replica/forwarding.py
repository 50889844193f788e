"""A replica passes the findings of its agents on to its publisher, who alone makes lists.

It sees the replica's token and, where its `limits.balancers` names the replica, the agent's address.
"""

from http import HTTPStatus

import httpx

from secondlook.config.service import UpstreamSettings
from secondlook.ground.errors import PatternError, ServiceError
from secondlook.ground.trust import trust_for
from secondlook.server.replica.publisher_answer import PLAIN, whole, within
from secondlook.wire.finding import Outcome, Report, dump_report, read_outcomes

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 256 << 10


class ForwardedFindings:
    """Takes reports by asking the publisher."""

    is_open = True

    def __init__(self, upstream: UpstreamSettings) -> None:
        self._url = f"{upstream.url}/findings"
        self._client = httpx.AsyncClient(
            headers=PLAIN | ({"Authorization": f"Bearer {upstream.token}"} if upstream.token else {}),
            verify=trust_for(upstream.url, str(upstream.ca) if upstream.ca else None),
            trust_env=False,
            timeout=TIMEOUT_S,
        )

    async def take(self, report: Report, address: str) -> list[tuple[Outcome, str | None]]:
        """Return what the publisher did with each finding. Raises ServiceError when it cannot be asked."""
        try:
            asked = self._client.stream(
                "POST", self._url, content=dump_report(report), headers={"X-Forwarded-For": address}
            )
            async with within("findings"), asked as answer:
                if answer.status_code == HTTPStatus.FORBIDDEN:
                    return [(Outcome.REFUSED, "the publisher does not take findings from here")] * len(
                        report.findings
                    )
                if answer.status_code != HTTPStatus.OK:
                    raise ServiceError(f"the publisher answers a report with status {answer.status_code}")
                body = await whole(answer, "findings", MAX_ANSWER_BYTES)
            return read_outcomes(body, len(report.findings))
        except (httpx.HTTPError, PatternError, ValueError) as error:
            raise ServiceError(
                f"the publisher cannot be asked: {str(error) or type(error).__name__}"
            ) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
