"""`secondlook setup`: make this computer use the proxy, and take it all back with `setup off`."""

import datetime as dt
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from secondlook.cli.caller import typed
from secondlook.cli.completion import completed
from secondlook.cli.context import CommandContext, Context, when_bare, with_context
from secondlook.cli.installation import CONFIG_NAME, PACKAGE
from secondlook.cli.options import JsonOption, Text, Texts, flag, option, writable_state
from secondlook.cli.output import fail, print_facts, print_json, print_line
from secondlook.cli.setup.squid import squid
from secondlook.core.pac import pac_text
from secondlook.core.url.address import with_port
from secondlook.ground.first_steps import FirstSteps, Step
from secondlook.ground.instant import rfc3339
from secondlook.run.supervisor.authority_files import whole
from secondlook.run.supervisor.runfile import read_run_file
from secondlook.setup import authority, browser, profile, service, startup, system_proxy, tool
from secondlook.setup.journal import Journal, Outcome

app = typer.Typer(add_completion=False, help="Make this computer use the proxy; `off` takes everything back.")

UNDOERS = {
    authority.KIND: authority.distrust,
    system_proxy.KIND: system_proxy.switch_off,
    startup.KIND: startup.switch_off,
}
TEST_PAGE = "http://malware.secondlook.test/"

SWITCHES = ("on", "off")
_STAYS = "the authority stays as it is"

Switch = Annotated[
    str,
    typer.Argument(metavar="on|off", help="off: take it back.", autocompletion=completed(SWITCHES)),
]


@when_bare(app)
@with_context
def setup(context: CommandContext) -> None:
    """Show what is set up on this computer and what can be."""
    host, port = _proxy(context)
    proxy = f"http://{with_port(host, port)}"
    changes = Journal(context.state).changes()
    if context.as_json:
        print_json(
            {
                "proxy": proxy,
                "pac": f"{proxy}/proxy.pac",
                "authority": context.settings.authority,
                "changes": [{"kind": change.kind, "target": change.target} for change in changes],
            }
        )
        return
    print_facts(
        [
            ("proxy", f"{proxy} for HTTP and HTTPS"),
            ("PAC file", f"{proxy}/proxy.pac"),
            ("authority", context.settings.authority),
        ]
    )
    print_line()
    for change in changes:
        print_line(f"set up: {change.kind}  {change.target}")
    if not changes:
        print_line(f"nothing is set up on this computer yet; the quickest look: {typed('setup browser')}")


@app.command()
@with_context
def ca(
    context: CommandContext,
    switch: Annotated[
        str,
        typer.Argument(
            metavar="[on|off]",
            help="off: stop trusting it everywhere.",
            autocompletion=completed(SWITCHES),
        ),
    ] = "on",
    show: Annotated[bool, flag("--print", "Only print the certificate and its fingerprint.")] = False,
    renew: Annotated[bool, flag("--renew", "Make a new one and trust that instead.")] = False,
    taken: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="CERT",
            help="Take this authority in place of the present one, such as an intermediate of a company's: "
            "PEM, with the certificates above it.",
        ),
    ] = None,
    key: Annotated[Path | None, option("--key", "KEY", "Of --import: its private key, in PEM.")] = None,
) -> None:
    """Trust the certificate authority: in the system's store, Chromium's and Firefox's."""
    journal = _journal(context)
    if not _on(switch):
        _undo(context, authority.KIND, nothing="the authority is trusted nowhere")
        return
    if (taken is None) != (key is None):
        fail(
            "--import and --key belong together: the certificates, and the authority's private key", status=2
        )
    if taken is not None and key is not None:
        _import(context, taken, key)
        return
    if renew:
        _renew(context, journal)
    certificate = _certificate(context)
    if show and context.as_json:
        text = certificate.read_text(encoding="ascii")
        print_json({"fingerprint": authority.fingerprint(certificate), "certificate": text})
        return
    if show:
        print_line(f"SHA-256 fingerprint: {authority.fingerprint(certificate)}")
        sys.stdout.write(certificate.read_text(encoding="ascii"))
        return
    trusted = authority.trust(certificate, journal, authority.stores())
    _finish(context, trusted, nothing="found no store of authorities")


@app.command("browser")
@with_context
def start_browser(
    context: CommandContext,
    name: Annotated[
        Text,
        typer.Argument(
            metavar="[NAME]",
            help="chromium, google-chrome, firefox …; default: the first that is here.",
            autocompletion=completed(filter(tool.has, browser.CHROMIUMS + browser.FIREFOXES)),
        ),
    ] = None,
    url: Annotated[str, option("--url", "URL", "The page to open first.")] = "http://secondlook.internal/",
    options: Annotated[
        Texts, option("--option", "OPTION", "A further option for the browser; may be repeated.")
    ] = None,
) -> None:
    """Start a browser in a fresh profile of its own behind the proxy; nothing else is changed."""
    if read_run_file(context.state) is None:
        fail("the proxy is not running", hint=f"start it in another terminal: {typed('run')}")
    program = browser.find(name)
    if program is None:
        known = ", ".join(browser.CHROMIUMS[:3] + browser.FIREFOXES[:1])
        fail(
            f"found no browser{f' named {name}' if name else ''}",
            hint=f"install one of {known}, or name another",
        )
    host, port = _proxy(context)
    profile.sweep()
    try:
        folder = browser.start(program, _certificate(context), host, port, url, *(options or ()))
    except tool.ToolError as error:
        _fail_tool(error)
    if not profile.lasts(folder):
        hint = f"start {program} by hand to see why; it needs a desktop, and a user that is not root"
        fail(f"{program} ended at once", hint=hint)
    record = {"browser": program, "profile": folder, "test_page": TEST_PAGE}
    context.report(record, f"started {program} in {folder}; see a block at {TEST_PAGE}")


@app.command("system-proxy")
@with_context
def set_system_proxy(context: CommandContext, switch: Switch) -> None:
    """Send all programs that follow the system's settings through the proxy, or put those back."""
    journal = _journal(context)
    if not _on(switch):
        _undo(context, system_proxy.KIND, nothing="the system proxy was not set by us")
        return
    host, port = _proxy(context)
    outcomes = system_proxy.switch_on(host, port, journal)
    address = f"http://{with_port(host, port)}"
    hint = f"set http_proxy={address} and https_proxy={address}, or the proxy in your programs' settings"
    _finish(context, outcomes, nothing="found no desktop whose settings we know", hint=hint)


@app.command()
@with_context
def pac(
    context: CommandContext,
    direct: Annotated[
        bool, flag("--direct-fallback", "Let browsers go unchecked while the proxy is down.")
    ] = False,
) -> None:
    """Print a PAC file (the proxy serves one too, at /proxy.pac)."""
    host, port = _proxy(context)
    text = pac_text(host, port, direct_fallback=direct)
    if context.as_json:
        print_json({"pac": text})
        return
    sys.stdout.write(text)


@app.command("startup")
@with_context
def set_startup(context: CommandContext, switch: Switch) -> None:
    """Start the proxy at log-in by a systemd user unit, or show how where there is none."""
    journal = _journal(context)
    if not _on(switch):
        _undo(context, startup.KIND, nothing="it does not start at log-in")
        return
    words = [sys.executable, "-P", "-m", "secondlook", "run", "--state", str(context.state)]
    if context.config is not None:
        words += ["-c", str(context.config.absolute())]
    if by_hand := startup.instructions(words):
        if context.as_json:
            print_json({"done": False, "step": "start at log-in is left to you", "hint": by_hand})
        else:
            sys.stdout.write(by_hand)
        return
    _finish(context, [startup.switch_on(words, journal)], nothing="")


@app.command("service")
def set_service(
    switch: Switch,
    root: Annotated[
        Path, option("--root", "DIR", "Only write the files below a folder, to make a package.")
    ] = Path("/"),
    as_json: JsonOption = False,
) -> None:
    """Run as a service of the system (systemd), with a user of its own; for root."""
    context = Context(None, None, as_json=as_json)
    here = root == Path("/")
    if here and os.geteuid() != 0:
        fail(
            "a service of the system is set up by root",
            hint=f"for this user alone: {typed('setup startup on')}",
        )
    if not _on(switch):
        _finish(context, service.switch_off(root=root), nothing="the service was not set up")
        return
    hidden = service.hidden(sys.executable, sys.prefix, str(PACKAGE)) if here else None
    if hidden is not None:
        fail(
            f"{hidden} is out of a service's sight",
            hint="install the program below /opt or /usr/local, with a Python of the system",
        )
    words = [sys.executable, "-P", "-m", "secondlook", "run", "-c", str(service.CONFIG)]
    configuration = (PACKAGE / "shipped" / CONFIG_NAME).read_text(encoding="utf-8")
    _finish(context, service.switch_on(words, configuration, root=root), nothing="")


app.command()(squid)


@app.command()
@with_context
def off(context: CommandContext) -> None:
    """Take back everything that these commands have set on this computer."""
    undone = _undone(context, Journal(context.state), frozenset(UNDOERS))
    gone, used = profile.sweep()
    undone += [Outcome(done=True, text=f"browser profile {folder}: removed") for folder in gone]
    undone += [
        Outcome(done=True, text=f"browser profile {folder}: in use, goes when its browser is closed")
        for folder in used
    ]
    _finish(context, undone, nothing="nothing was set up")


def _end_trust(context: CommandContext, journal: Journal) -> bool:
    """End what trusted the old authority here; whether programs trust the new one is not known yet."""
    FirstSteps(context.state).forget(Step.TRUST)
    return _print_outcomes(context, _undone(context, journal, frozenset({authority.KIND})))


def _undone(context: CommandContext, journal: Journal, kinds: frozenset[str]) -> list[Outcome]:
    """Undo changes; a program that was seen to trust the authority need not, once the stores here do not."""
    trusted = journal.has(authority.KIND)
    outcomes = journal.undo(UNDOERS, kinds)
    if trusted and not journal.has(authority.KIND):
        FirstSteps(context.state).forget(Step.TRUST)
    return outcomes


def _renew(context: CommandContext, journal: Journal) -> None:
    """Put a new authority in place, before anything stops trusting the one that is there."""
    from secondlook.run.authority import renew_authority

    if read_run_file(context.state) is not None:
        fail("the proxy is running with the present authority", hint="stop it, renew, and start it again")
    try:
        renew_authority(context.state / "ca", context.settings.ca)
    except OSError as error:
        fail(f"{_STAYS}: {error.strerror or error}")
    _end_trust(context, journal)


def _import(context: CommandContext, certificates: Path, key: Path) -> None:
    """Put an authority from elsewhere in place; its clients trust it already, or get it as they get it."""
    from secondlook.run.authority import put_authority
    from secondlook.run.authority_import import read_authority

    if read_run_file(context.state) is not None:
        fail("the proxy is running with the present authority", hint="stop it, import, and start it again")
    secret, chain = read_authority(certificates, key, dt.datetime.now(dt.UTC))
    try:
        put_authority(context.state / "ca", secret, chain)
    except OSError as error:
        fail(f"{_STAYS}: {error.strerror or error}")
    done = _end_trust(context, Journal(context.state))
    names = [each.subject.rfc4514_string() for each in chain]
    ends = min(each.not_valid_after_utc for each in chain)
    context.report(
        {"authority": names[0], "chain": names[1:], "until": rfc3339(ends.timestamp())},
        f"certificates for sites are signed by {names[0]} until {ends:%Y-%m-%d}",
        *(f"  below {name}" for name in names[1:]),
    )
    if not done:
        raise typer.Exit(1)


def _journal(context: CommandContext) -> Journal:
    """Open where a command that changes this computer notes in the state folder what it was."""
    writable_state(context.state)
    return Journal(context.state)


def _undo(context: CommandContext, kind: str, *, nothing: str) -> None:
    """Take back the changes of one kind; `nothing` is shown where there are none."""
    _finish(context, _undone(context, _journal(context), frozenset({kind})), nothing=nothing)


def _on(switch: str) -> bool:
    if switch not in SWITCHES:
        fail(f"expected on or off, got {switch!r}", status=2)
    return switch == "on"


def _proxy(context: CommandContext) -> tuple[str, int]:
    """Return where the proxy is, or will be; one bound to every address is reached on loopback."""
    from secondlook.config.agent import NO_PROXY
    from secondlook.run.supervisor.listening import visited

    facts = read_run_file(context.state)
    if not context.settings.proxies or (facts is not None and facts["proxy"] is None):
        fail(
            f"there is no proxy here (mode: {NO_PROXY}): a gateway carries the traffic",
            hint=f"`{typed('setup squid')}` prints the settings of Squid",
        )
    listening = str(facts["proxy"]) if facts is not None else str(context.settings.listen[0])
    host, _, port = visited(listening).rpartition(":")
    return host.strip("[]"), int(port)


def _certificate(context: CommandContext) -> Path:
    """Return the authority's certificate, made first where there is none yet or only a damaged copy."""
    from secondlook.run.authority import make_authority

    if not whole(context.state / "ca"):
        make_authority(context.state / "ca", context.settings.ca)
    return context.settings.authority


def _print_outcomes(context: Context, outcomes: Iterable[Outcome]) -> bool:
    all_done = True
    for outcome in outcomes:
        all_done = all_done and outcome.done
        lines = [("done  " if outcome.done else "left  ") + outcome.text]
        if outcome.hint:
            lines.append(f"      {outcome.hint}")
        record = {"done": outcome.done, "step": outcome.text, "hint": outcome.hint}
        context.report(record, *lines)
    return all_done


def _finish(context: Context, outcomes: list[Outcome], *, nothing: str, hint: str | None = None) -> None:
    if not outcomes and not context.as_json:
        print_line(nothing)
        if hint:
            print_line(f"  {hint}")
    if not _print_outcomes(context, outcomes):
        raise typer.Exit(1)


def _fail_tool(error: tool.ToolError) -> NoReturn:
    fail(str(error), hint="Debian and Ubuntu: apt install libnss3-tools; Fedora: dnf install nss-tools")
