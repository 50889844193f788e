"""The list of clients, and a page for each."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from secondlook.review.operations.statistics import USUAL
from secondlook.review.pages.chart import chart
from secondlook.review.pages.frame import Handlers

USUAL_LIST = "7d"


class ClientPages(Handlers):
    """Handlers of the clients."""

    async def clients(self, request: Request) -> Response:
        """List the clients of a range of time."""
        chosen = request.query_params.get("range") or USUAL_LIST
        found = await self.operations.clients(chosen)
        return await self.frame.show(
            request, "clients.html", clients=found, s={"range": chosen, "client": None}
        )

    async def client(self, request: Request) -> Response:
        """Show one client: what holds for it, and what became of its checks."""
        name = request.path_params["name"]
        figures = await self.operations.statistics(request.query_params.get("range") or USUAL, name)
        described = await self.operations.client(name)
        return await self.frame.show(
            request, "client.html", c=described, s=figures, chart=chart(figures["bars"])
        )

    def routes(self) -> list[Route]:
        """Return the routes of the clients."""
        return [Route("/clients", self.clients), Route("/clients/{name:path}", self.client)]
