"""Notices to people: their text, and through whom they are sent; `notifier` decides when.

The text of a notice is made here from hostile input (URLs, hosts, file names), as text that no mail or
chat program turns into a link, a mention, markup or control characters.
"""

import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from secondlook.config.traffic import UpstreamProxySettings
from secondlook.core.event import ConfirmedEntry, Event
from secondlook.core.neutralize import inert
from secondlook.core.rules.client import ERASED, mention, network_of
from secondlook.core.subject import SubjectKind

logger = logging.getLogger(__name__)

_MOST_CHARS = 300
_MOST_NAMED = 10  # things named in one message
HOSTS_ONLY = 2  # privacy level from which no URL is shown
COUNTS_ONLY = 3
# markup of mail and chat, each sign shown as a look-alike that means nothing to a program
_DEFANGED = str.maketrans(
    "<>`*_[]|\\&#~$",
    "\u2039\u203a'\u2217\uff3f\u2045\u2046\u00a6\u29f5\uff06\uff03\u223c\uff04",
) | {ord("@"): "(at)"}


def harmless(text: str) -> str:
    """Show hostile text so that no reader of mail or chat acts on it."""
    return inert(text, _MOST_CHARS).translate(_DEFANGED)


def defanged(url: str) -> str:
    """Show a URL or host so that nothing makes a link of it."""
    head, separator, rest = url.partition("://")
    if separator:
        scheme = {"http": "hxxp", "https": "hxxps"}.get(head.lower(), head)
        host, slash, path = rest.partition("/")
        return harmless(f"{scheme}://{host.replace('.', '(.)')}{slash}{path.replace('.', '(.)')}")
    return harmless(url.replace(".", "(.)"))


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to report: `kind` is what the rate limit counts by, `subject` may be left out for privacy.

    `clients` and `users` met it; they are for who erases one (`without_client`).
    """

    kind: str
    title: str
    host: str | None
    subject: str | None
    text: str
    clients: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


def confirmed_notice(
    entry: ConfirmedEntry, clients: Sequence[str], visits: Sequence[Event], outcomes: Sequence[object]
) -> Notice:
    """Make the notice about something let through that turned out bad."""
    what = "A file" if entry.kind is SubjectKind.FILE else "An address"
    lines = [f"listed as {(entry.threat or entry.risk).replace('_', ' ')} ({entry.risk.replace('_', ' ')})"]
    if clients:
        lines.append("let through to " + ", ".join(harmless(client) for client in clients[:_MOST_NAMED]))
    if visits:
        lines.append(f"{len(visits)} {'visit' if len(visits) == 1 else 'visits'} in the log")
    lines += [harmless(str(getattr(outcome, "detail", outcome))) for outcome in outcomes]
    return Notice(
        kind="confirmed",
        title=f"{what} that was let through turned out dangerous",
        host=entry.host,
        subject=entry.filename if entry.kind is SubjectKind.FILE else entry.url,
        text="; ".join(lines),
        clients=_some(clients),
        users=_some(visit.user for visit in visits),
    )


def _some(names: Iterable[str | None]) -> tuple[str, ...]:
    """Return whom a notice names, and one more, so that nobody of them seems to be alone who is not."""
    return tuple(islice(dict.fromkeys(filter(None, names)), _MOST_NAMED + 1))


def without_client(notice: Notice, client: str) -> Notice:
    """Take an address or a user out of a notice; of what nobody else is known to have met the count stays."""
    text = mention(harmless(client)).sub(ERASED, notice.text)
    clients = tuple(name for name in notice.clients if name != client)
    users = tuple(name for name in notice.users if name != client)
    if (text, clients, users) == (notice.text, notice.clients, notice.users):
        return notice
    if users if network_of(client) is None else clients:
        return replace(notice, text=text, clients=clients, users=users)
    return counted_only(notice)


def counted_only(notice: Notice) -> Notice:
    """Leave of a notice that there is one."""
    return replace(notice, host=None, subject=None, text="", clients=(), users=())


class Sender(Protocol):
    """What carries a message; blocking, called in a thread."""

    def send(self, title: str, body: str) -> bool:
        """Send a message in plain text; False when nobody could be reached. May raise."""


def message_of(notices: Sequence[Notice], more: int, privacy: int) -> tuple[str, str]:
    """Put notices of one kind together as title and plain-text body, as much as the privacy level allows."""
    count = len(notices) + more
    title = notices[0].title if count == 1 else f"{notices[0].title} ({count} of them)"
    if privacy >= COUNTS_ONLY:
        return title, "Open the review page of Second Look for details."
    lines = []
    for notice in notices[:_MOST_NAMED]:
        named = notice.host if privacy >= HOSTS_ONLY else (notice.subject or notice.host)
        shown = defanged(named) if named else "(not kept)"
        lines.append(f"- {shown}: {notice.text}" if notice.text and privacy < HOSTS_ONLY else f"- {shown}")
    if count > len(lines):
        lines.append(f"… and {count - len(lines)} more.")
    return title, "\n".join(lines)


class AppriseSender:
    """Sends through Apprise: `urls` name mail, chat or push services; `desktop` adds this desktop.

    Services of the web are reached through `proxy` where there is one (mail knows no such proxy).
    """

    def __init__(
        self, urls: Sequence[str], *, desktop: bool = False, proxy: UpstreamProxySettings | None = None
    ) -> None:
        self._urls = tuple(urls)
        self._desktop = desktop
        self._proxy = proxy

    def send(self, title: str, body: str) -> bool:
        """Send to everybody; False when any service refused or nobody could be reached."""
        if not self._urls and find_spec("apprise") is None:  # an extra; settings with URLs want it
            return notify_desktop(title, body) or self._nobody_sees()
        import apprise  # noqa: PLC0415 - takes a third of a second; only who sends pays for it

        asset = apprise.AppriseAsset(
            app_id="Second Look", app_desc="Second Look", async_mode=False, interpret_escapes=False
        )
        carrier = apprise.Apprise(asset=asset)
        for url in self._urls:
            if not carrier.add(url):
                logger.error("a notify URL is not understood: %s://…", url.partition("://")[0])
                return False
        reached = False
        if self._desktop:
            # what this machine's desktop speaks; Apprise refuses those whose parts are missing
            with _quiet(logging.getLogger("apprise")):
                found = [carrier.add(url) for url in _DESKTOPS]
            reached = any(found) or notify_desktop(title, body)
            if not reached:
                self._nobody_sees()
        if not len(carrier):
            return reached
        with _through(self._proxy):
            return bool(carrier.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT))

    @staticmethod
    def _nobody_sees() -> bool:
        logger.warning("no notice can be shown here: notify.desktop found no desktop session")
        return False


@contextlib.contextmanager
def _through(proxy: UpstreamProxySettings | None) -> Iterator[None]:
    """Lead what `requests` sends through a proxy: Apprise can be set up for one by the environment alone.

    Nothing else in the process asks it (every client of ours has `trust_env` off), and one thread sends.
    """
    if proxy is None:
        yield
        return
    parts = urlsplit(proxy.url)
    login = "" if proxy.user is None else f"{quote(proxy.user, '')}:{quote(proxy.password or '', '')}@"
    address = f"{parts.scheme}://{login}{parts.netloc}"
    wanted = {"http_proxy": address, "https_proxy": address, "no_proxy": "localhost,127.0.0.1,::1"}
    with tempfile.NamedTemporaryFile(suffix=".pem") as bundle:
        if proxy.ca is not None:
            import certifi  # noqa: PLC0415 - what requests trusts, and the proxy's own authority

            trusted = Path(os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where())
            bundle.write(trusted.read_bytes() + b"\n" + proxy.ca.read_bytes())
            bundle.flush()
            wanted["REQUESTS_CA_BUNDLE"] = bundle.name
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextlib.contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """Keep another package's complaints about what this system lacks to itself: one thread sends."""
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = False


_DESKTOPS = ("dbus://", "windows://", "macosx://")


def notify_desktop(title: str, body: str) -> bool:
    """Show a notice with the desktop's own command, where there is one; False when there is none."""
    command = shutil.which("notify-send")
    if command is None:
        return False
    done = subprocess.run(  # noqa: S603 - a fixed program; the texts are single arguments
        [command, "--app-name=Second Look", "--urgency=critical", "--", title, body],
        check=False,
        timeout=_DESKTOP_TIMEOUT_S,
        capture_output=True,
    )
    return done.returncode == 0


_DESKTOP_TIMEOUT_S = 10.0
