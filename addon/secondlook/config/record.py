"""Settings of what is kept and reported: log, ledger, notices, pages."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from secondlook.config.extra import needs
from secondlook.config.value import (
    Bytes,
    Count,
    Host,
    HttpUrl,
    Seconds,
    Secret,
    Section,
    SomeSeconds,
    Switch,
    Text,
    expected,
)


class SyslogSettings(Section):
    """Events as JSON Lines to a syslog daemon."""

    address: Text = "/dev/log"  # a socket's path, or host:port (UDP)
    facility: Literal[
        "user", "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"
    ] = "user"


class WebhookSettings(Section):
    """Events as JSON Lines by POST."""

    url: HttpUrl
    headers: dict[str, Secret] = Field(default_factory=dict)


class LogSettings(Section):
    """The event log."""

    all: Switch = False  # also what was allowed
    retention: Seconds = 30 * 86_400.0
    privacy: Annotated[Count, Field(le=3)] = 0
    ignore: tuple[Host, ...] = ()  # hosts of which nothing is kept
    syslog: SyslogSettings | None = None
    webhook: WebhookSettings | None = None


def _ledger_url(raw: object) -> str:
    what = "default, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    if not isinstance(raw, str):
        raise expected(what)
    if raw != "default" and not raw.startswith(("postgresql://", "postgres://", "sqlite:///")):
        raise expected(what)
    if raw.startswith("postgres"):
        needs("postgresql")
    return raw


def _notify_urls(raw: object) -> object:
    if raw:
        needs("notices")
    return raw


class LedgerSettings(Section):
    """Where events, queue and rules are kept."""

    url: Annotated[str, BeforeValidator(_ledger_url)] = "default"  # SQLite in the state folder
    deadline: SomeSeconds = 0.5  # for the commit of a flag before the traffic goes on
    synchronous: Literal["full", "normal"] = "full"
    queue_memory: Count = 20_000  # events waiting to be written
    journal: Bytes = 16 << 20  # room for flags that the ledger could not take


PageLanguage = Literal["en", "de", "fr", "es", "it", "pt", "pl", "ja", "zh-Hans", "ar"]


class BlockPageSettings(Section):
    """How the pages look that people meet in place of what they asked for."""

    language: Literal["auto", PageLanguage] = "auto"  # as the browser asks, else `default`
    default: PageLanguage = "en"
    organisation: Text | None = None  # shown with contact and sentence on each of these pages
    contact: Text | None = None  # a mail address and an https:// address become links
    sentence: Text | None = None


class NotifySettings(Section):
    """Notices to people, through Apprise."""

    # Apprise URLs: desktop, mail, chat
    urls: Annotated[tuple[Secret, ...], BeforeValidator(_notify_urls)] = ()
    desktop: Switch = True
    at_most_every: Seconds = 60.0  # of the same kind
    alerts: Switch = True  # also about servers, updates and the ledger
    next_page: Switch = False  # late verdicts also before the client's next page


def notify_from(raw: object) -> object:
    """Let a plain list stand for the URLs, and `false` for no notices at all."""
    if raw is False:
        return {"desktop": False, "alerts": False}
    return {"urls": raw} if isinstance(raw, list | tuple) else raw
