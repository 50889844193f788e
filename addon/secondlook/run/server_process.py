"""`secondlook server run`: a Smart Protection Server as a process of its own."""

import asyncio
import logging
import signal
import sys

from secondlook.config import ServerSettings
from secondlook.run.listening import CannotListenError, address_of, listen
from secondlook.run.readiness import tell_systemd
from secondlook.server.service import ServerService
from secondlook.server.store import ServerStore

logger = logging.getLogger(__name__)


def serve(settings: ServerSettings, store: ServerStore) -> int:
    """Serve until told to stop; the exit status."""
    logging.basicConfig(level=logging.WARNING, format="secondlook server: %(message)s")
    sockets = []
    for address in settings.listen:
        try:
            sockets.append(listen(address.host, address.port, setting="listen", option="--listen"))
        except CannotListenError as error:
            sys.stderr.write(f"secondlook: {error}\n")
            return 1

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        service = ServerService(settings.model_copy(update={"state": store.root}), sockets)
        await service.start()
        scheme = "https" if settings.tls is not None else "http"
        for sock in sockets:
            sys.stdout.write(f"server   {scheme}://{address_of(sock)}\n")
        generation = service.reader.number
        sys.stdout.write(
            f"serving  {'nothing published yet' if generation is None else f'generation {generation}'}\n"
        )
        sys.stdout.flush()
        tell_systemd("READY=1")
        await stop.wait()
        tell_systemd("STOPPING=1")
        await service.stop()

    asyncio.run(main())
    return 0
