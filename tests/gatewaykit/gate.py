"""A `Gate` put together as `run/gate.py` does it, over a house of `agentkit`."""

from collections.abc import Callable
from pathlib import Path

from agentkit.house import House
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.config.traffic import DownloadsSettings
from secondlook.core.event import Event
from secondlook.download.gate.spool import SpoolRoom
from secondlook.download.judged_files import JudgedFiles
from secondlook.download.judging import BodyJudge
from secondlook.download.request_facts import RequestFacts
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import GatewayRequest, read_request
from secondlook.ledger.log.privacy import Discretion, Privacy
from secondlook.refusal.block_page import BlockPage, Pages
from secondlook.refusal.keeping import Keeping
from secondlook.refusal.refusal import INTERNAL_HOST, Refusals


def make_gate(house: House, folder: Path) -> Gate:
    """Make a gate whose spool lies in a folder."""
    return gate_of(house.gatekeeper, folder, house.ledger.recorder.record)


def gate_of(gatekeeper: Gatekeeper, folder: Path, record: Callable[[Event], None]) -> Gate:
    """Make a gate over a gatekeeper, be it a fake one."""
    settings = DownloadsSettings()
    room = SpoolRoom(folder / "spool", settings.spool_max, settings.spool_memory)
    judged = JudgedFiles(folder / "judged", b"k" * 32, room.thread)
    bodies = BodyJudge(gatekeeper, settings, room, None, judged)
    keeping = Keeping(Discretion(Privacy.EVERYTHING, ()))
    refusals = Refusals(BlockPage(Pages(), INTERNAL_HOST, keeping), lambda *_: 600.0)
    return Gate(gatekeeper, refusals, bodies, record, name="our squid")


def get(
    url: str,
    *,
    client: str = "192.0.2.7",
    user: str | None = None,
    sni: str | None = None,
    asked: RequestFacts | None = None,
) -> GatewayRequest:
    """Read a GET as a gateway reports it."""
    return read_request("GET", url, client=client, user=user, sni=sni, asked=asked)
