"""`secondlook setup squid`: the lines of squid.conf for the Second Look here, and whether they work."""

import grp
import ipaddress
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondlook.cli.caller import typed
from secondlook.cli.context import CommandContext, with_known_context
from secondlook.cli.options import Text, flag, option
from secondlook.cli.output import fail, print_json, print_line
from secondlook.run.supervisor.authority_files import AUTHORITY
from secondlook.run.supervisor.runfile import read_run_file

if TYPE_CHECKING:
    from secondlook.config.value import Address

SPARE_S = 0.5  # of a helper's budget, over what the agent takes at most
DEFAULT_SQUID = "127.0.0.1:3128"


@with_known_context
def squid(
    context: CommandContext,
    opens: Annotated[
        bool, flag("--bump", "Let Squid open TLS (ssl_bump), except for the hosts of `passthrough`.")
    ] = False,
    listen: Annotated[str, option("--listen", "[HOST:]PORT", "Where Squid listens, with --bump.")] = "3128",
    certgen: Annotated[
        Text, option("--certgen", "PATH", "Squid's security_file_certgen, with --bump.")
    ] = None,
    certificates: Annotated[Text, option("--certificates", "DIR", "Its folder, with --bump.")] = None,
    check: Annotated[
        bool, flag("--check", "Ask a running Squid for test pages and show what is wrong.")
    ] = False,
    proxy: Annotated[str, option("--squid", "HOST:PORT", "The Squid that --check asks.")] = DEFAULT_SQUID,
) -> None:
    """Print the lines of squid.conf by which a Squid asks here; `--check` looks whether a Squid does.

    With `--check` a refusal is met on purpose: its events are in the log.
    """
    if not context.settings.gateway.enabled:
        fail(
            "no gateway is answered here", hint=f"set `gateway: true` in proxy.yaml, and `{typed('reload')}`"
        )
    icap = _icap(context)
    if check:
        _check(context, proxy, icap, opens=opens)
        return
    from secondlook.ledger.queue.flag_store import JOURNAL_DEADLINE_S
    from secondlook.setup.squid import CERTGEN, CERTIFICATES, SquidFacts, UnfitForSquidError, fragment

    settings = context.settings
    facts = SquidFacts(
        helper=_program(),
        socket=settings.gateway_socket.absolute(),
        icap=icap,
        budget_s=settings.servers.budget + settings.ledger.deadline + JOURNAL_DEADLINE_S + SPARE_S,
        workers=settings.gateway.workers,
        unopened=settings.passthrough.hosts,
        authority=(context.state / "ca" / AUTHORITY).absolute() if opens else None,
        listen=listen,
        certgen=certgen or CERTGEN,
        certificates=certificates or CERTIFICATES,
    )
    try:
        text = fragment(facts)
    except UnfitForSquidError as error:
        fail(str(error))
    if context.as_json:
        print_json({"squid.conf": text})
    else:
        for line in text.splitlines():
            print_line(line)
    for hint in hints(facts.socket, settings.gateway.group, Path(facts.helper[0]), Path(sys.executable)):
        sys.stderr.write(f"secondlook: {hint}\n")


def _program() -> tuple[str, ...]:
    """Return how Squid starts this program: by its script, else as a module."""
    script = Path(sys.executable).parent / "secondlook"
    return (str(script),) if script.exists() else (sys.executable, "-P", "-m", "secondlook")


def _running(context: CommandContext) -> dict[str, Any]:
    return read_run_file(context.state) or {}


def _icap(context: CommandContext) -> str:
    """Return where ICAP is spoken, as this machine reaches it."""
    from secondlook.run.supervisor.listening import visited

    running = _running(context).get("icap")
    wanted = context.settings.gateway.icap.listen
    if running is not None:
        return visited(running)
    if wanted is None:
        fail(
            "refusals reach Squid's clients by ICAP, which is off",
            hint=f"set gateway.icap.listen (such as 127.0.0.1:1344) in proxy.yaml, and `{typed('reload')}`",
        )
    if not wanted.port:
        fail(f"gateway.icap.listen is any free port ({wanted})", hint="set one, or start Second Look first")
    return visited(str(wanted))


def hints(socket: Path, group: str | None, helper: Path, python: Path) -> Iterator[str]:
    """Name what keeps a Squid that runs as another user from the socket, the helper and its Python."""
    if group is None and not _shared(socket):
        yield "only you may connect to the socket: set gateway.group to Squid's group (Debian: proxy)"
    places = {"socket": socket, "helper": helper, "Python": python}
    ways = {(what, way): None for what, place in places.items() for way in (place, place.resolve())}
    for what, path in ways:
        closed = next((each for each in reversed(path.parents) if not _enterable(each)), None)
        if closed is not None:
            yield f"other users cannot enter {closed}, where the {what} lies: Squid may not reach {path}"


def _shared(socket: Path) -> bool:
    """Return whether the group of a socket, of which its owner always is, has other members."""
    try:
        return bool(grp.getgrgid(socket.stat().st_gid).gr_mem)
    except (OSError, KeyError):
        return False


def _enterable(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & stat.S_IXOTH)
    except OSError:
        return True  # it is not there yet, or cannot be looked at: nothing is known of it


def outside(squid: str) -> str | None:
    """Return an address of this machine as which another one asks a Squid that is named by loopback."""
    from secondlook.lookup.address_watch import default_sources, local_addresses

    try:
        there = ipaddress.ip_address(squid)
    except ValueError:
        return None
    if not there.is_loopback:
        return None
    fitting = [
        str(ours)
        for ours in (*default_sources(), *local_addresses())  # rather one by which other machines are reached
        if ours.version == there.version and not ours.is_link_local
    ]
    return next(iter(fitting), None)


def _check(context: CommandContext, proxy: str, icap: str, *, opens: bool) -> None:
    from secondlook.config.value import parse_address
    from secondlook.setup.squid_check import Target, check

    try:
        address: Address = parse_address(proxy)
    except ValueError as error:
        fail(f"--squid: {error}, got {proxy!r}", status=2)
    host, _, port = icap.rpartition(":")
    target = Target(
        (address.host, address.port),
        context.settings.gateway_socket,
        (host.strip("[]"), int(port)),
        opens=opens,
        outside=outside(address.host),
    )
    wrong = False
    for found in check(target):
        wrong = wrong or found.result == "problem"
        if context.as_json:
            print_json(found._asdict())
            continue
        mark = {"ok": "ok      ", "problem": "PROBLEM ", "unknown": "?       "}[found.result]
        print_line(f"{mark} {found.step:9} {found.text}")
        if found.remedy:
            print_line(f"                   -> {found.remedy}")
    if wrong:
        raise typer.Exit(1)
