"""`secondlook server run`: a Smart Protection Server as a process of its own."""

import asyncio
import signal
import sys

from secondlook.config.service import ServerSettings
from secondlook.ground import collector
from secondlook.ground.memory import keep_giving_back, share_heaps
from secondlook.ground.repeated_lines import begin_log
from secondlook.run.supervisor.descriptors import raise_file_limit
from secondlook.run.supervisor.listening import CannotListenError, address_of, close_all, listen
from secondlook.run.supervisor.readiness import tell_systemd
from secondlook.server.service import ServerService

SPARE_FILES = 4096  # what asyncio accepts at one go before what is too much is closed, lists, the store


def serve(settings: ServerSettings) -> int:
    """Serve until a signal ends it; return the exit status."""
    begin_log("secondlook server: %(message)s")
    share_heaps()
    raise_file_limit(settings.limits.connections + SPARE_FILES)
    sockets = []
    for address in settings.listen:
        try:
            sockets.append(listen(address.host, address.port, setting="listen", option="--listen"))
        except CannotListenError as error:
            sys.stderr.write(f"secondlook: {error}\n")
            close_all(sockets)
            return 1
    scheme = "https" if settings.tls is not None else "http"

    async def main() -> None:
        stop = asyncio.Event()
        for ending in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(ending, stop.set)
        service = ServerService(settings, sockets)
        await service.start()
        for sock in sockets:
            sys.stdout.write(f"server   {scheme}://{address_of(sock)}\n")
        number = service.reader.number
        sys.stdout.write(
            f"serving  {'nothing published yet' if number is None else f'generation {number}'}\n"
        )
        sys.stdout.flush()
        collector.keep_what_is_here()
        keep_giving_back()
        tell_systemd("READY=1")
        await stop.wait()
        tell_systemd("STOPPING=1")
        await service.stop()

    asyncio.run(main())
    return 0
