"""The gate worker put together from settings, over real parts: what a helper line makes of a real ledger. 3 s."""

import asyncio
import os
import socket

from secondlook.config.agent import Settings
from secondlook.core.event import EventKind
from secondlook.ledger.ledger import EventFilter
from secondlook.run.assembly.check.ledger_opening import ledger_of
from secondlook.run.gate import serve
from secondlook.run.process import Process
from secondlook.run.reload import plan_of
from secondlook.run.supervisor.plan import Invocation


def test_a_line_makes_the_events_and_flags_that_traffic_makes(tmp_path):
    raw = {
        "state": tmp_path,
        "gateway": {"enabled": True, "name": "the school's"},
        "ledger": {"deadline": "60s"},  # however busy the disk
        "servers": {
            "embedded": {"enabled": False},
            "intranet": [{"url": "http://127.0.0.1:9", "insecure": True}],
        },
    }
    settings = Settings.model_validate(raw)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()
    reader, writer = os.pipe()
    plan = plan_of(Invocation(None), settings)
    plan.sockets.update(gateway=[listening.detach()], icap=[])
    with ledger_of(settings) as ledger:

        async def main():
            serving = asyncio.create_task(serve(Process(plan, settings, 0, "gate worker 0", writer)))
            lines, say = await asyncio.open_unix_connection(str(tmp_path / "s"))
            say.write(b"1 192.0.2.7 anna GET http://new.example/x - document\n")
            told = await asyncio.wait_for(lines.readline(), 60)
            waiting, _, _ = ledger.queue.count()  # on disk before it is answered
            os.kill(os.getpid(), 15)
            assert await asyncio.wait_for(lines.read(), 60) == b""
            say.close()
            await asyncio.wait_for(serving, 60)
            return told, waiting

        told, waiting = asyncio.run(main())
        assert told.startswith(b"1 OK log=")
        assert waiting == 1
        (event,) = ledger.events.page(EventFilter(kind=EventKind.FLAGGED.value)).events
        assert event.id == told.split(b"=")[1].strip().decode()
        assert (event.client, event.user, event.gateway) == ("192.0.2.7", "anna", "the school's")
    os.close(reader)
    os.close(writer)
