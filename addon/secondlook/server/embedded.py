"""The Smart Protection Server inside the service process: loopback, any free port, test list always there."""

import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from secondlook.config.service import FeedSettings, LimitsSettings
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.ground.clock import Clock
from secondlook.ground.errors import PatternError
from secondlook.ground.lanes import LISTS
from secondlook.ground.tasks import Tasks
from secondlook.ground.tcp import listen_on
from secondlook.server.feeds.keeper import FeedKeeper
from secondlook.server.feeds.known_good import keep_own_hosts
from secondlook.server.feeds.taking import FeedNotice
from secondlook.server.http.app import AppSettings, ServerApp
from secondlook.server.http.serving import Serving
from secondlook.server.publish.generation import mend_current
from secondlook.server.publish.publishing import publish
from secondlook.server.publish.signing import renew_damaged_key
from secondlook.server.reader import FileReader
from secondlook.server.store.builtin import add_builtin_lists
from secondlook.server.store.store import ServerStore

log = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
# Workers on this machine share one address.
LOCAL_LIMITS = LimitsSettings(
    requests=1_000_000, burst=1_000_000, connections=1_000_000, connections_per_address=1_000_000
)


class EmbeddedServer:
    """The local server of a proxy: its store, its feeds, its socket.

    `on_generation` hears of every generation as soon as it is served; `on_feed` what became of each fetch.
    No feed may block `own_hosts`.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock,
        *,
        feeds: Sequence[FeedSettings] = (),
        own_hosts: Sequence[str] = (),
        proxy: UpstreamProxySettings | None = None,
        on_generation: Callable[[int], None] | None = None,
        on_feed: Callable[[FeedNotice], None] | None = None,
    ) -> None:
        self.store = ServerStore(root)
        self._clock = clock
        self._own_hosts = own_hosts
        self._on_generation = on_generation
        self._reader = FileReader(self.store)
        app = ServerApp(self._reader, AppSettings(limits=LOCAL_LIMITS))
        self._serving: Serving | None = None
        self._app = app
        self.feeds = FeedKeeper(
            self.store,
            feeds,
            clock,
            proxy=proxy,
            meter=app.meter,
            on_notice=on_feed,
            on_published=self._published,
        )
        self._tasks = Tasks()

    async def start(self, sock: socket.socket | None = None) -> None:
        """Publish the test list where nothing is published yet, and answer on `sock`, else on any port."""
        await LISTS.run(self._prepare)
        sock = listen_on(LOOPBACK, 0) if sock is None else sock
        self._serving = Serving(self._app, [sock], on_generation=self._on_generation)
        await self._serving.start()
        self._tasks.keep("feeds", self.feeds.run)

    def _prepare(self) -> None:
        """Have the test list published; a folder that is damaged keeps nothing else from starting."""
        try:
            renew_damaged_key(self.store.root)
            if (mended := mend_current(self.store)) is not None:
                log.warning("%s", mended)
            keep_own_hosts(self.store, self._own_hosts)
            now = self._clock.now()
            changed = add_builtin_lists(self.store, now=now)
            if changed or self.store.current() is None:
                publish(self.store, now=now)
        except (PatternError, OSError) as error:
            log.warning("the embedded server publishes nothing new, what it has stays: %s", error)

    def _published(self, _: int) -> None:
        if self._serving is not None:
            self._serving.look_again()

    @property
    def port(self) -> int:
        """The port, known once it was started."""
        assert self._serving is not None
        return self._serving.port

    @property
    def url(self) -> str:
        """The server's address, known once it was started."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def generation(self) -> int | None:
        """The generation that is served."""
        return self._reader.number

    async def stop(self) -> None:
        """End fetching, answer what is begun, end."""
        await self._tasks.aclose()
        await self.feeds.aclose()
        if self._serving is not None:
            await self._serving.stop()
