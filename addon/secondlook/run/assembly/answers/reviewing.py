"""The review page of the service, put together: what it asks of the running program, and its server."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from secondlook.agent.actions.quarantine import Quarantine
from secondlook.agent.pattern import change
from secondlook.agent.pattern.files import Stamp, read_stamp
from secondlook.agent.pattern.updater import PatternUpdater
from secondlook.agent.recheck.rechecker import Rechecker
from secondlook.config.agent import Settings
from secondlook.config.service import LimitsSettings
from secondlook.core.display import as_sentence
from secondlook.core.lists.pattern import ListInfo
from secondlook.core.rules.client import network_of
from secondlook.core.rules.policy import Level
from secondlook.core.subject import UrlSubject
from secondlook.core.url.address import is_loopback
from secondlook.ground import keyfile
from secondlook.ground.errors import PatternError, SecondLookError
from secondlook.ground.first_steps import FirstSteps
from secondlook.ground.instant import rfc3339
from secondlook.ground.lanes import LISTS
from secondlook.ground.program_name import typed
from secondlook.ground.tasks import Tasks
from secondlook.review.app import create_app, host_names
from secondlook.review.operations.acknowledged import Acknowledged
from secondlook.review.operations.operations import Operations
from secondlook.review.program import Json, SettingsEditor
from secondlook.review.session import Doorkeeper
from secondlook.review.words import lost_text, plain
from secondlook.run.assembly.answers.backtesting import DAY_S, change_from, report_json, run_backtest
from secondlook.run.assembly.answers.explaining import explained, subject_from
from secondlook.run.assembly.answers.feeds_shown import failing_text, feeds_shown
from secondlook.run.assembly.check.naming import entries_by_list, policy_words, title
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.assembly.monitoring.metrics import exporter
from secondlook.run.supervisor.listening import EVERYWHERE, own_address
from secondlook.run.supervisor.plan import Plan
from secondlook.run.supervisor.runfile import REVIEW_KEY_FILE, read_run_file
from secondlook.run.supervisor.settings_file import changed, differs
from secondlook.server.embedded import EmbeddedServer
from secondlook.server.feeds.rule_versions import rollback_text, take_up_again
from secondlook.server.http.connection import Connections, Server, bounded, server_settings
from secondlook.server.publish.held_back import HeldBack, read_held_back
from secondlook.server.store.feed_alerts import NOTHING_PROTECTS, feed_alerts
from secondlook.setup.journal import is_trusted

UP = frozenset({"closed", "half_open", "slowed"})
_LISTS = "/lists", "Lists"  # where a note leads to, and what that is called


class Program:
    """The running program as the review page sees it (`review.program.RunningProgram`)."""

    def __init__(
        self,
        parts: Parts,
        plan: Plan,
        *,
        updater: PatternUpdater,
        rechecker: Rechecker,
        quarantine: Quarantine,
        embedded: EmbeddedServer | None,
        editor: SettingsEditor,
    ) -> None:
        self._parts = parts
        self._updater = updater
        self._rechecker = rechecker
        self._quarantine = quarantine
        self._embedded = embedded
        self._begun = Tasks()
        self._metrics = exporter(parts, parts.settings.state / "metrics")
        self._plan = plan
        self.proxy = plan.proxy or ""  # none: a gateway asks, and there is no address to show
        self.first_steps = FirstSteps(parts.settings.state)
        self.started_at = plan.started_at
        self.assessing = parts.settings.policy.mode == "assess"
        self.shared_as = parts.settings.proxy_name if parts.settings.shares_ledger else None
        self.gateways = parts.settings.gateway.enabled
        self.passages = parts.settings.passages
        self.editor = editor
        self.authority = parts.settings.authority

    @property
    def address_of_others(self) -> str | None:
        """Return the address by which other devices reach the proxy; None where it listens on loopback."""
        host, _, port = self.proxy.rpartition(":")
        if host not in EVERYWHERE:
            return self.proxy if host and not is_loopback(host.strip("[]")) else None
        own = own_address()
        return None if own is None else f"{own}:{port}"

    def metrics(self) -> bytes:
        """Render all metrics for Prometheus; blocks."""
        return self._metrics()

    def url_subject(self, text: str) -> UrlSubject:
        """Bring a URL into canonical form."""
        return self._parts.checker.subject(text)

    async def check(self, text: str, client: str | None = None) -> Json:
        """Check a URL or digest, as a client sees it; nothing is recorded."""
        subject = subject_from(text, self._parts.suffixes)
        return await explained(self._parts.checker, text, subject, client)

    async def verify(self) -> None:
        """Have every flagged subject looked at now."""
        self._begun.start("looking at everything flagged", self._rechecker.look())

    async def update(self, *, force: bool = False) -> None:
        """Have the feeds and the lists fetched now; `force`: also what a rollback gave up."""
        if self._embedded is not None:
            self._begun.start("fetching the feeds", self._embedded.feeds.fetch_due(everything=True))
        self._begun.start("fetching the lists", self._update(force=force))

    async def _update(self, *, force: bool) -> None:
        settings = self._parts.settings
        if force:
            now = self._parts.clock.now()
            for _, folder in settings.rule_feeds:
                await LISTS.run(take_up_again, folder)
            await LISTS.run(change.forget_rollback, settings.state, now=now, keep=settings.pattern.keep)
        await self._updater.update_now()

    def rolled_back(self) -> str | None:
        """Return which lists a rollback keeps as they were; None: none."""
        stamp = self._stamp()
        of_lists = None if stamp is None else change.held_text(stamp, self._parts.list_title)
        of_rules = (rollback_text(name, folder) for name, folder in self._parts.settings.rule_feeds)
        return ". ".join(text for text in (of_lists, *of_rules) if text) or None

    def _stamp(self) -> Stamp | None:
        """Read what is in force; one that is damaged is reported, and mended, by the updater."""
        try:
            return read_stamp(self._updater.folder)
        except PatternError:
            return None

    def client(self, name: str) -> Json:
        """Describe an address or a user: its group and the policy in force for it."""
        settings = self._parts.settings
        network = network_of(name)
        address = None if network is None else str(network.network_address)
        user = name if network is None else None
        group = None if settings.clients is None else settings.clients.group_of(address, user)
        policy = settings.policy if group is None else group.policy.over(settings.policy)
        return {"group": None if group is None else group.name, "policy": policy_words(policy)}

    def names(self) -> Mapping[str, str]:
        """Return what people call clients: by user, or by address as the ledger writes it."""
        clients = self._parts.settings.clients
        return {} if clients is None else clients.called

    def lists(self) -> Sequence[Json]:
        """Describe the lists of the pattern."""
        entries = entries_by_list(self._parts.settings)
        return [
            {
                "name": info.name,
                "title": title(info, entries),
                "meaning": meaning(info),
                "count": table.count,
                "size_bytes": table.count * table.width,
                "server": info.server,
                "generation": info.generation,
                "confirmed_at": rfc3339(info.confirmed_at or None),
            }
            for info, table in self._parts.view.current.pattern.lists
        ]

    def servers(self) -> Sequence[Json]:
        """Describe the servers; one that is away from here by location is not missed."""
        return [
            {
                "name": server.name,
                "tier": str(server.tier),
                "up": server.state in UP or server.state == "away",
                "detail": server.problem
                or ("not asked from here" if server.state == "away" else None)
                or (lost_text(server.lost) if server.state not in UP else None)
                or (f"95 of 100 answers within {server.p95_s * 1000:.0f} ms" if server.p95_s else None),
            }
            for server in self._parts.lookup.status()
        ]

    def location(self) -> str:
        """Show where the machine is and who is asked."""
        servers = self._parts.settings.servers
        if not servers.intranet:
            asked = "the network server is asked" if servers.network else "no further server is configured"
            return f"Beside the embedded server, {asked}."
        if self._parts.lookup.on_intranet:
            return "On the intranet: the intranet's servers are asked."
        asked = (
            "the network server is asked" if servers.network else "no server can be asked until it is back"
        )
        return f"Away from the intranet: {asked}."

    def feeds(self) -> Sequence[Json]:
        """Describe the feeds of the embedded server."""
        if self._embedded is None:
            return []
        return feeds_shown(self._embedded.store, self._parts.settings.feeds)

    def alerts(self) -> Sequence[Json]:
        """Report what is wrong with the pattern, the settings and the feeds."""
        now = self._parts.clock.now()
        pattern = change.alerts_of(self._updater.folder, self._stamp(), self._parts.list_title)
        notes = [_note("bad", "Pattern.", as_sentence(text), _LISTS) for text in pattern]
        notes += [
            _note("bad", "Feeds.", as_sentence(text), ("/lists#feeds", "Lists"))
            | {"unprotected": text.startswith(NOTHING_PROTECTS)}
            for text in self._feed_alerts(now)
        ]
        config = self._plan.invocation.config
        if differs(config, self._plan.settings_file):
            running = read_run_file(self._parts.settings.state)
            refused = running["settings"]["refused"] if running is not None else None
            notes.append(_note("warn", "Settings.", as_sentence(changed(config, typed("reload"), refused))))
        if self.proxy and not is_trusted(self._parts.settings.state):
            text = f"HTTPS pages warn until it is trusted: run `{typed('setup ca on')}`, or go on from here:"
            notes.append(_note("warn", "Certificate.", text, ("/setup", "Set-up")))
        if failing := failing_text(self.feeds()):
            notes.append(_note("warn", "Feeds fail.", failing, _LISTS))
        for held in self._held_back():
            if held.is_news(now):
                text = as_sentence(f"{held.summary()}; the list may be poisoned")
                notes.append(_note("warn", "Known-good sites.", text, _LISTS))
        return notes

    def _feed_alerts(self, now: float) -> Sequence[str]:
        if self._embedded is None:
            return ()
        settings = self._parts.settings
        others = bool(settings.servers.intranet or settings.servers.network)
        return feed_alerts(self._embedded.store.root, named=bool(settings.feeds), others=others, now=now)

    def _held_back(self) -> Sequence[HeldBack]:
        return () if self._embedded is None else read_held_back(self._embedded.store.root) or ()

    def backtest(self, rule: str, days: int, action: str = "block") -> Json:
        """Return what a rule, list or level would have changed; blocks. Raises ValueError."""
        now = self._parts.clock.now()
        level = Level(self._parts.settings.policy.level)
        asked = change_from(rule, self._parts.view.current.pattern, level, now, action=action)
        since = now - days * DAY_S
        report = run_backtest(self._parts.ledger.events, asked, self._parts.suffixes, since=since)
        return report_json(report) | {"matched": report.newly_blocked}

    async def restore(self, record_id: str) -> None:
        """Put a quarantined file back and allow it. Raises ValueError or OSError."""
        await _in_words(self._quarantine.restore(record_id))

    async def delete_quarantined(self, record_id: str) -> None:
        """Delete a quarantined file. Raises ValueError or OSError."""
        await _in_words(self._quarantine.delete(record_id))


def _note(kind: str, title: str, text: str, link: tuple[str | None, str | None] = (None, None)) -> Json:
    return {"kind": kind, "title": title, "text": text, "href": link[0], "link": link[1]}


async def _in_words(work: Awaitable[object]) -> None:
    try:
        await work
    except SecondLookError as error:
        raise ValueError(str(error)) from error


def meaning(info: ListInfo) -> str:
    """Return what a hit in a list means."""
    what = "files" if info.kind == "file" else "addresses"
    if info.threat is None:
        return f"known-good {what}"
    return f"{what}: {plain(info.threat)}, {plain(info.risk)}"


def secret_key(state: Path) -> bytes:
    """Read the key that signs sessions, made on first use, readable by its owner alone."""
    return keyfile.read_or_make(
        state / REVIEW_KEY_FILE, meaning="whoever was signed in to the review page has to sign in again"
    )


class ReviewServer:
    """The review page on an inherited socket."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        program: Program,
        sock: socket.socket,
        *,
        renewed: Callable[[str], None],
        not_ready: Callable[[], str | None],
    ) -> None:
        self.doorkeeper = Doorkeeper(
            secret_key(settings.state),
            password_hash=settings.review.password,
            renewed=renewed,
            ended=settings.state / "review-ended.json",
        )
        operations = Operations(
            parts.ledger, program, Acknowledged(settings.state / "review.json"), parts.clock
        )
        host, port = sock.getsockname()[:2]
        tls = settings.review.tls
        hosts = host_names(host, port, tls.cert.read_bytes() if tls else None)
        app = create_app(operations, self.doorkeeper, hosts=hosts, clock=parts.clock, not_ready=not_ready)
        self._server = Server(
            server_settings(
                app,
                bounded(Connections(LimitsSettings(), lambda _: False)),
                loop="asyncio",
                timeout_graceful_shutdown=1,
                ssl_certfile=tls.cert if tls else None,
                ssl_keyfile=tls.key if tls else None,
            )
        )
        self._sock = sock

    async def run(self) -> None:
        """Serve until cancelled."""
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._sock]))
        try:
            await asyncio.shield(serving)
        finally:
            self._server.should_exit = True
            # Live logs have no end of their own: they are cut after the grace period.
            await asyncio.gather(serving, return_exceptions=True)
