"""The embedded server of the service, put together."""

from collections.abc import Callable

from secondlook.run.parts import Parts
from secondlook.run.process import Process
from secondlook.server.embedded import EmbeddedServer

SERVER_FOLDER = "server"


def make_embedded(
    process: Process, parts: Parts, *, on_generation: Callable[[int], None]
) -> EmbeddedServer | None:
    """Make the embedded server with its feeds, or None where the settings want none."""
    settings = process.settings
    if not settings.servers.embedded.enabled:
        return None
    return EmbeddedServer(
        settings.state / SERVER_FOLDER,
        parts.clock,
        feeds=[feed for feed in settings.feeds if feed.builtin is None],
        proxy=settings.upstream_proxy,
        on_generation=on_generation,
    )
