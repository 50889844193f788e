"""A gate worker process, started by the supervisor through `run.entry`: it answers gateways."""

import asyncio
import socket
from collections.abc import Callable

from secondlook.config.agent import Settings
from secondlook.download.judging import BodyJudge
from secondlook.gateway.complaints import Complaints
from secondlook.gateway.helper_listener import HelperListener
from secondlook.gateway.icap.listener import IcapListener
from secondlook.gateway.icap.service import IcapService
from secondlook.gateway.parts import Gate
from secondlook.ledger.log.privacy import Discretion
from secondlook.refusal.block_page import BlockPage, Pages
from secondlook.refusal.keeping import Keeping
from secondlook.refusal.refusal import INTERNAL_HOST, Refusals
from secondlook.run.assembly.check.parts import LedgerRecords, Parts, cache_file, elsewhere_s, site_key
from secondlook.run.assembly.check.scanning import clamd_reporter
from secondlook.run.judging import judging
from secondlook.run.process import Process, run
from secondlook.run.supervisor.listening import inherited
from secondlook.run.supervisor.supervisor import DRAIN_S
from secondlook.site.internal_site import InternalSite, SiteFacts


def make_gate(
    settings: Settings,
    parts: Parts,
    key: bytes,
    not_ready: Callable[[], str | None],
    process: str | None = None,
) -> Gate:
    """Put together what the listeners judge by."""
    bodies = BodyJudge.of_process(settings, parts.gatekeeper, key, clamd_reporter(parts, process))
    keeping = Keeping(Discretion(settings.log.privacy, settings.log.ignore))
    pages = Pages(settings.block_page)
    refusals = Refusals(BlockPage(pages, INTERNAL_HOST, keeping, parts.list_title), parts.override_s)
    facts = SiteFacts(
        ca_pem=settings.authority,
        key=key,
        override_s=parts.override_s,
        unopened_s=parts.unopened_s,
        not_ready=not_ready,
    )
    records = LedgerRecords(
        parts.ledger, parts.suffixes, parts.clock, parts.rulebook, elsewhere_s=elsewhere_s(settings)
    )
    site = InternalSite(facts, records, pages)
    record = parts.ledger.recorder.record
    return Gate(parts.gatekeeper, refusals, bodies, record, site, name=settings.gateway.name)


def make_icap(settings: Settings, gate: Gate, sock: socket.socket) -> IcapListener:
    """Make the ICAP listener on a socket."""
    icap = settings.gateway.icap
    service = IcapService(
        gate,
        preview=icap.preview,
        max_connections=icap.max_connections,
        encoded_users=icap.users == "base64",
    )
    complain = Complaints(gate.record, "a gateway's ICAP cannot be understood")
    return IcapListener(
        service, sock, clients=icap.clients, max_connections=icap.max_connections, complain=complain
    )


async def serve(process: Process) -> None:
    """Answer until SIGTERM, then drain."""
    settings, plan = process.settings, process.plan
    async with judging(process, cache_file(settings, f"gate-{process.index}")) as around:
        key = await site_key(settings.state, around.parts.ledger)
        gate = make_gate(settings, around.parts, key, around.not_ready, process.name)
        listeners: list[HelperListener | IcapListener] = [
            *(HelperListener(gate, inherited(each)) for each in plan.sockets["gateway"]),
            *(make_icap(settings, gate, inherited(each)) for each in plan.sockets["icap"]),
        ]
        for listener in listeners:
            await listener.start()
        around.ready()
        await around.stop.wait()
        await asyncio.gather(*(listener.drain(DRAIN_S) for listener in listeners))
        await gate.bodies.aclose()


def main() -> None:
    """Run as a child of the supervisor."""
    run("gate", serve)


if __name__ == "__main__":
    main()
