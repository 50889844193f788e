"""The parts of a check for a command: beside a running proxy, or without one, and offline.

A command finds the embedded server of the proxy that runs on the state folder; without one it serves the
published data itself for a moment, on a loopback port of its own, so that the answer is the one that
the proxy would give.
"""

import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence

from secondlook.agent.pattern.files import load_pattern
from secondlook.config.agent import Settings
from secondlook.core.answer import Tier, TierAnswer
from secondlook.core.lists.pattern import Pattern
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.errors import PatternError
from secondlook.ledger.ledger import Ledger
from secondlook.run.assembly.check.parts import Parts, load_cache
from secondlook.run.assembly.check.policies import config_rules
from secondlook.run.supervisor.runfile import SERVER_FOLDER, read_run_file


class NobodyAsked:
    """A lookup that asks nobody (`agent.ports.Lookup`): the tiers are there, and none of them answers."""

    def __init__(self, settings: Settings) -> None:
        servers = settings.servers
        self._tiers = (
            *((Tier.LOCAL,) if servers.embedded.enabled else ()),
            *((Tier.INTRANET,) if servers.intranet else (Tier.NETWORK,) if servers.network else ()),
        )

    def tiers(self, kind: SubjectKind, cls: SubjectClass) -> tuple[Tier, ...]:  # noqa: ARG002
        """Name the tiers that would be asked."""
        return self._tiers

    def fallback(self, tier: Tier, kind: SubjectKind, cls: SubjectClass) -> Tier | None:  # noqa: ARG002
        """Nobody stands in for anybody."""
        return None

    def awaited(self, kind: SubjectKind, cls: SubjectClass) -> bool:  # noqa: ARG002
        """Nobody is waited for."""
        return False

    async def ask(
        self,
        tier: Tier,
        kind: SubjectKind,  # noqa: ARG002
        cls: SubjectClass,  # noqa: ARG002
        prefixes: Sequence[bytes],  # noqa: ARG002
        *,
        deadline: float,  # noqa: ARG002
    ) -> TierAnswer:
        """Answer nothing."""
        return TierAnswer(tier, {}, (), "offline: no server was asked")

    def on_recovery(self, callback: Callable[[str], None]) -> None:
        """Nobody ever comes back."""


@contextlib.asynccontextmanager
async def asking(settings: Settings, ledger: Ledger, *, offline: bool = False) -> AsyncIterator[Parts]:
    """Return started parts for a command. Raises LedgerError and PatternError."""
    running = read_run_file(settings.state)
    url = running.get("server") if running is not None else None
    async with contextlib.AsyncExitStack() as stack:
        pattern = load_pattern(settings.state)
        if url is None and settings.servers.embedded.enabled and not offline:
            url = await _serve_for_a_moment(settings, stack)
            if url is None:  # nothing was ever published here: there is nobody to ask
                settings = _without_embedded(settings)
            # whatever the pattern holds of it may be older than what is published
            pattern = Pattern(
                pattern.lists,
                [each for each in pattern.mirrors if each.tier is not Tier.LOCAL],
                pattern.generation,
            )
        parts = Parts.build(settings, ledger)
        if offline:
            parts.checker.lookup = NobodyAsked(settings)
        else:
            await parts.lookup.start()
        stack.push_async_callback(parts.lookup.aclose)
        stack.push_async_callback(parts.gatekeeper.aclose)
        if url is not None and not offline:
            await parts.lookup.set_local(url)
        now = time.time()
        for saved in sorted((settings.state / "cache").glob("answers-*")):
            load_cache(parts.cache, saved, now=now, stale_for_s=settings.cache.stale_for)
        parts.view.replace(
            rulebook=RuleBook((*ledger.snapshots.rules(), *config_rules(settings, now))),
            pauses=ledger.snapshots.pauses(),
            confirmed=ledger.snapshots.confirmed(),
            pattern=pattern,
        )
        yield parts


async def _serve_for_a_moment(settings: Settings, stack: contextlib.AsyncExitStack) -> str | None:
    """Serve what is published in the state folder until the stack ends; None where nothing is."""
    from secondlook.server.store.store import ServerStore  # noqa: PLC0415

    folder = settings.state / SERVER_FOLDER
    if not folder.is_dir():
        return None
    store = ServerStore(folder)
    try:
        if store.current() is None:
            return None
    except PatternError:
        return None
    from secondlook.server.http.app import AppSettings, ServerApp  # noqa: PLC0415 - only what serves needs it
    from secondlook.server.http.serving import Serving  # noqa: PLC0415
    from secondlook.server.reader import FileReader  # noqa: PLC0415

    sock = socket.create_server(("127.0.0.1", 0))
    serving = Serving(ServerApp(FileReader(store), AppSettings()), [sock])
    await serving.start()
    stack.push_async_callback(serving.stop)
    return f"http://127.0.0.1:{serving.port}"


def _without_embedded(settings: Settings) -> Settings:
    embedded = settings.servers.embedded.model_copy(update={"enabled": False})
    return settings.model_copy(update={"servers": settings.servers.model_copy(update={"embedded": embedded})})
