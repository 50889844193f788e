"""Looking for what is wrong: each check finds one kind of trouble and how to mend it."""

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from secondlook.agent.pattern import change
from secondlook.agent.pattern.alerts import misfit_key, read_alerts
from secondlook.agent.pattern.files import FOLDER
from secondlook.config.agent import Settings
from secondlook.core.answer import Tier
from secondlook.ground.errors import LedgerError, PatternError
from secondlook.ground.lanes import STATE
from secondlook.ground.program_name import typed
from secondlook.lookup.client import ServerClient
from secondlook.lookup.tiered import TieredLookup
from secondlook.run.assembly.check.ledger_opening import open_ledger
from secondlook.run.assembly.check.naming import titles_in_force
from secondlook.run.diagnosis import bypass
from secondlook.run.diagnosis.check_result import NETWORK_TIMEOUT_S, CheckResult
from secondlook.run.diagnosis.clock_check import clock, compared
from secondlook.run.diagnosis.directory_check import directory
from secondlook.run.diagnosis.engine_check import engines
from secondlook.run.diagnosis.front_check import fronts
from secondlook.run.diagnosis.key_check import damaged_keys, open_state
from secondlook.run.supervisor.authority_files import AUTHORITY, whole
from secondlook.run.supervisor.runfile import LEDGER_FILE, SERVER_FOLDER, read_run_file
from secondlook.run.supervisor.settings_file import changed_since_read

ENDS_SOON_S = 30 * 86_400.0
LOW_DISK_BYTES = 256 << 20
TRUST_TIMEOUT_S = 10.0
_PORT_REMEDIES = {
    errno.EADDRINUSE: "stop the program that uses it (see `ss -ltnp`)",
    errno.EACCES: "start the proxy as a user who may, as its service with CAP_NET_BIND_SERVICE",
}


async def diagnose(settings: Settings) -> AsyncIterator[CheckResult]:
    """Run every check; none changes anything. One that breaks is a result itself, and the others are run."""
    running = read_run_file(settings.state)
    before: tuple[tuple[str, Callable[[], Iterable[CheckResult]]], ...] = (
        ("running", lambda: [_state(settings, running)]),
        ("settings", lambda: [] if running is None else [_settings(running)]),
        ("disk", lambda: [_disk(settings)]),
        ("port", lambda: [] if running is not None else _ports(settings)),
        ("ledger", lambda: _ledger(settings)),
        ("pattern", lambda: [_pattern(settings)]),
        ("feed", lambda: _feeds(settings)),
        ("key", lambda: damaged_keys(settings.state)),
        ("state", lambda: open_state(settings.state)),
        ("ca", lambda: _authority(settings)),
    )
    asked: tuple[tuple[str, AsyncIterator[CheckResult]], ...] = (
        ("proxy", fronts(running, settings.servers.budget)),
        ("server", _servers(settings, running)),
        ("engine", engines(settings, time.time())),
        ("directory", _directory(settings)),
        ("clock", _clock(settings)),
    )
    for check, look in before:
        for found in await STATE.run(_looked, check, look):
            yield found
    for check, results in asked:
        try:
            async for found in results:
                yield found
        except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
            yield _broken(check, error)
    for found in await STATE.run(_looked, "bypass", lambda: _bypasses(running)):
        yield found


def _looked(check: str, look: Callable[[], Iterable[CheckResult]]) -> list[CheckResult]:
    found: list[CheckResult] = []
    try:
        found.extend(look())
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
        found.append(_broken(check, error))
    return found


def _broken(check: str, error: Exception) -> CheckResult:
    """Report that a check could not be made: what kept it from that is most likely what is wrong."""
    remedy = "see to it that this user can use what is named there, then look again"
    return CheckResult(
        check, "problem", f"this cannot be looked at: {str(error) or type(error).__name__}", remedy
    )


async def _directory(settings: Settings) -> AsyncIterator[CheckResult]:
    if settings.clients is not None and settings.clients.ldap is not None:
        yield await directory(settings.clients.ldap)


async def _clock(settings: Settings) -> AsyncIterator[CheckResult]:
    yield await clock(settings)


def _state(settings: Settings, running: dict[str, Any] | None) -> CheckResult:
    if running is not None:
        return CheckResult("running", "ok", f"the proxy runs on {settings.state} (process {running['pid']})")
    text = f"no proxy runs on {settings.state}"
    return CheckResult("running", "problem", text, f"start it with `{typed('run')}`")


def _settings(running: dict[str, Any]) -> CheckResult:
    file = running["invocation"]["config"]
    if changed_since_read(running):
        remedy = f"`{typed('reload')}` reads it again, and refuses it with the reason where it has a fault"
        why = running["settings"]["refused"]
        refused = f"; the last time it was refused: {why}" if why else ""
        return CheckResult(
            "settings", "problem", f"{file} has changed since the proxy read it{refused}", remedy
        )
    return CheckResult("settings", "ok", f"the proxy works by {file or 'the defaults'}")


def _disk(settings: Settings) -> CheckResult:
    folder = settings.state
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    facts = f"{free / (1 << 30):.1f} GiB free for {settings.state}"
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = "give this user the folder, or choose another with `--state`: nothing can be stored there"
        return CheckResult("disk", "problem", f"{folder} cannot be written", remedy)
    if free < LOW_DISK_BYTES:
        remedy = "free some space: without it flags cannot be stored, and their requests are refused"
        return CheckResult("disk", "problem", facts, remedy)
    return CheckResult("disk", "ok", facts)


def _ports(settings: Settings) -> Iterator[CheckResult]:
    addresses = [("listen", address) for address in settings.listen]
    if settings.review.enabled:
        addresses.append(("review.listen", settings.review.listen))
    for key, address in addresses:
        if address.port == 0:
            continue
        try:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            with socket.create_server((address.host, address.port), family=family):
                pass
        except OSError as error:
            number = error.errno or errno.EADDRNOTAVAIL
            remedy = _PORT_REMEDIES.get(number, "see whether this machine has that address")
            text = f"{address} cannot be listened on: {os.strerror(number)}"
            yield CheckResult("port", "problem", text, f"{remedy}, or set `{key}` to another")
        else:
            yield CheckResult("port", "ok", f"{address} is free")


def _ledger(settings: Settings) -> Iterator[CheckResult]:
    own = settings.ledger.url == "default"
    where = settings.state / LEDGER_FILE if own else "the ledger"
    if own and not (settings.state / LEDGER_FILE).exists():
        yield CheckResult("ledger", "ok", "there is no ledger yet; it is made at the first start")
        return
    mend = "start the proxy: it sets the damaged file aside and carries over what can still be read"
    try:
        with contextlib.closing(open_ledger(settings, background=False)) as ledger:
            faults = ledger.upkeep.check()
            ahead_s = ledger.store.clock_ahead_s()
    except LedgerError as error:
        reach = (
            "see whether `ledger.url` is right and its database runs, as primary; meanwhile the proxy goes on"
        )
        yield CheckResult("ledger", "problem", str(error), mend if own else reach)
        return
    if not faults:
        yield CheckResult("ledger", "ok", f"{where} is in order")
    else:
        yield CheckResult("ledger", "problem", f"{where} is damaged: {faults[0]}", mend)
    if ahead_s is not None:
        yield compared(ahead_s, "the database")


def _pattern(settings: Settings) -> CheckResult:
    now = time.time()
    try:
        found = change.status(
            settings.state, now=now, title=lambda name: titles_in_force(settings).get(name, name)
        )
        faults = change.verify(settings.state)
    except PatternError as error:
        return CheckResult(
            "pattern", "problem", str(error), f"fetch it anew with `{typed('pattern update')}`"
        )
    update = f"`{typed('pattern update')}`"
    if faults:
        damaged, why = next(iter(faults.items()))
        return CheckResult("pattern", "problem", f"{damaged.name}: {why}", f"fetch it anew with {update}")
    if not found.lists:
        return CheckResult(
            "pattern", "problem", "there are no lists yet", f"start the proxy, or run {update}"
        )
    age = max(each.age_s for each in found.lists)
    if age > settings.pattern.stale_after:
        text = f"the lists were last confirmed {age / 3600:.1f} h ago"
        remedy = f"see whether their servers are reachable (below), then {update}"
        return CheckResult("pattern", "problem", text, remedy)
    facts = (
        f"{found.entries:,} entries, generation {found.generation or 'unnumbered'}, confirmed {age:.0f} s ago"
    )
    if found.alerts:
        remedy = f"see `{typed('pattern status')}`"
        return CheckResult("pattern", "problem", f"{facts}; {found.alerts[0]}", remedy)
    return CheckResult("pattern", "ok", facts)


def _feeds(settings: Settings) -> Iterator[CheckResult]:
    if not settings.servers.embedded.enabled:
        return
    from secondlook.server.feeds.feed_state import read_state  # noqa: PLC0415 - slow, and only needed here
    from secondlook.server.publish.held_back import read_held_back  # noqa: PLC0415
    from secondlook.server.store.feed_alerts import feed_alerts  # noqa: PLC0415
    from secondlook.server.store.store import FEEDS_FOLDER  # noqa: PLC0415

    servers = settings.servers
    others = bool(servers.intranet or servers.network)
    folder = settings.state / SERVER_FOLDER
    yield from _damaged_store(folder)
    for alert in feed_alerts(folder, named=bool(settings.feeds), others=others, now=time.time()):
        yield CheckResult(
            "feed", "problem", alert, "see `feeds` of the settings; the page of lists shows each of them"
        )
    for held in read_held_back(settings.state / SERVER_FOLDER) or ():
        if held.is_news(time.time()):
            remedy = (
                "see whether its publisher was taken over; what is meant is taken with `insist: true` of the "
                f"feed, or by `{typed('server add')}`"
            )
            yield CheckResult("guard", "problem", held.summary(), remedy)
    for feed in settings.feeds:
        if feed.builtin is not None or not feed.enabled:
            continue
        state = read_state(settings.state / SERVER_FOLDER / FEEDS_FOLDER, feed.name)
        if state.error is None:
            continue
        since, kept = "never came", ""
        if state.good_at:
            since = f"last came {(time.time() - state.good_at) / 3600:.1f} h ago"
            kept = ", and what it last named stays blocked"
        remedy = (
            "see whether this machine reaches its address (`upstream_proxy`?); it is tried again by itself"
        )
        yield CheckResult("feed", "problem", f"the feed {feed.name} {since}: {state.error}", remedy + kept)


def _damaged_store(folder: Path) -> Iterator[CheckResult]:
    from secondlook.server.store.manual_entries import read_manual  # noqa: PLC0415 - slow
    from secondlook.server.store.store import ServerStore  # noqa: PLC0415

    if not (folder / "sources").is_dir():
        return
    store = ServerStore(folder)
    try:
        store.current(), store.sources(), read_manual(store)
    except PatternError as error:
        fault, _, remedy = str(error).partition("; ")
        text = f"{fault}: nothing new is published"
        yield CheckResult("feed", "problem", text, remedy or "put the file back from a backup, or remove it")


def _authority(settings: Settings) -> Iterator[CheckResult]:
    if settings.proxies:  # of others their gateway has its own
        yield _own_authority(settings)


def _own_authority(settings: Settings) -> CheckResult:
    certificate = settings.authority
    if not certificate.exists():
        return CheckResult(
            "ca", "unknown", "there is no certificate authority yet; it is made at the first start"
        )
    if not whole(certificate.parent):
        text = f"{certificate} is damaged: no browser can be given the certificate"
        remedy = f"start the proxy again, which writes it anew from {AUTHORITY} beside it"
        return CheckResult("ca", "problem", text, remedy)
    ends_at = _authority_ends(certificate.parent / AUTHORITY)
    if ends_at is not None and ends_at - time.time() < ENDS_SOON_S:
        text = f"the authority's certificate ends on {time.strftime('%Y-%m-%d', time.gmtime(ends_at))}"
        remedy = (
            f"make another before that with `{typed('setup ca --renew')}`, or import the company's next one"
        )
        return CheckResult("ca", "problem", text, remedy)
    openssl = shutil.which("openssl")
    if openssl is None:
        return CheckResult(
            "ca", "unknown", "whether the system trusts the CA is not known: openssl is not installed"
        )
    try:
        trusted = _system_trusts(openssl, certificate)
    except subprocess.TimeoutExpired:
        return CheckResult("ca", "unknown", f"whether the system trusts the CA is not known: {openssl} hangs")
    if trusted:
        return CheckResult("ca", "ok", "the system trusts the CA")
    text = "the system does not trust the CA: browsers will warn on every https page"
    remedy = f"trust it with `{typed('setup ca on')}`, or for one browser with `{typed('setup browser')}`"
    return CheckResult("ca", "problem", text, remedy)


def _authority_ends(own: Path) -> float | None:
    """Return when the first of the authority's chain ends (Unix seconds); None: it cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - slow, and only needed here

    try:
        chain = x509.load_pem_x509_certificates(own.read_bytes())
    except (OSError, ValueError):
        return None
    return min(each.not_valid_after_utc.timestamp() for each in chain)


def _system_trusts(openssl: str, certificate: Path) -> bool:
    done = subprocess.run(  # noqa: S603 - a fixed program
        [openssl, "verify", str(certificate)], capture_output=True, check=False, timeout=TRUST_TIMEOUT_S
    )
    return done.returncode == 0


def _bypasses(running: dict[str, Any] | None) -> Iterator[CheckResult]:
    """Look for browsers that go round the proxy: connections of now, and settings that lead there."""
    ours = set()
    if running is not None:
        ours = {running["pid"], running["service"], *running["workers"], *running.get("gates", ())}
    found = [*bypass.connections(ours=ours), *bypass.settings_of_browsers(Path.home())]
    yield from found
    if not found:
        text = (
            "nothing here goes round the proxy by QUIC or DNS over HTTPS right now; "
            "whether one browser does is shown by http://secondlook.internal/filtered in it"
        )
        yield CheckResult("bypass", "ok" if bypass.can_look() else "unknown", text)


async def _servers(settings: Settings, running: dict[str, Any] | None) -> AsyncIterator[CheckResult]:
    embedded = str(running["server"]) if running and running["server"] else None
    misfits = read_alerts(settings.state / FOLDER) if running else {}
    lookup = TieredLookup(settings.servers, upstream_proxy=settings.upstream_proxy)
    try:
        await lookup.start()
        if embedded is not None:
            await lookup.set_local(embedded)
        for tier in Tier:
            for client in lookup.clients(tier):
                fresh = await _server(client, f"{client.name} ({tier.value})")
                yield _as_running(fresh, misfits.get(misfit_key(client.name)))
        if settings.servers.intranet:
            here = "on" if lookup.on_intranet else "away from"
            yield CheckResult("location", "ok", f"this machine is {here} the intranet")
    finally:
        await lookup.aclose()


def _as_running(fresh: CheckResult, misfit: str | None) -> CheckResult:
    """Add to a fresh look at a server that the processes that run see another thing."""
    if misfit is None or fresh.result == "problem":
        return fresh
    why = misfit.partition("; ")[0]
    text = f"{fresh.text} when it is asked afresh, but {why}"
    return CheckResult("server", "problem", text, f"`{typed('reload')}`, or wait until it is tried again")


async def _server(client: ServerClient, name: str) -> CheckResult:
    try:
        health = await client.health(timeout_s=NETWORK_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from answering is the result
        remedy = "see whether it runs and whether its address and certificate are right"
        return CheckResult("server", "problem", f"{name} cannot be reached: {error}", remedy)
    if health.generation is None:
        remedy = "import lists there and publish them"
        return CheckResult("server", "problem", f"{name} answers, but has nothing to serve", remedy)
    serves = f"{name} serves generation {health.generation}"
    if health.trouble is not None:
        remedy = "its `server status` shows more"
        return CheckResult("server", "problem", f"{serves}: {health.trouble}", remedy)
    return CheckResult("server", "ok", serves)
