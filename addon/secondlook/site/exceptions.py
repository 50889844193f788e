"""What people may let through for themselves on the internal site, and what each such exception does.

| page | about | the exception |
|---|---|---|
| `/blocked/ID` | an address that was blocked | a rule that allows it |
| `/unopened/ID` | an origin whose TLS could not be opened | its TLS is passed through: browsers judge it |

Who may, and that nothing but a form of the page makes one, is the site's to see to (`internal_site.py`).
"""

import time
from typing import Any

from secondlook.core.display import shown_host
from secondlook.core.event import Event, EventKind
from secondlook.core.neutralize import inert
from secondlook.core.tls_exception import ORIGIN_TLS
from secondlook.core.verdict import Stage, SubjectClass
from secondlook.refusal.block_page import DECIDED, OPEN_STAGES, report_text, shown_minutes
from secondlook.refusal.language import Language, phrase
from secondlook.refusal.refusal import Override
from secondlook.site.ports import Records

_LABELS = (
    phrase("When"),
    DECIDED,
    phrase("Threat"),
    phrase("Risk"),
    phrase("List"),
    phrase("Rule"),
    phrase("Server"),
    phrase("File"),
    "SHA-256",
    phrase("Detail"),
    phrase("Event"),
)
_REPORTED = frozenset({"List", "Rule", "Threat", "File", "SHA-256", "When", "Event"})
_OPEN_CLASSES = frozenset({SubjectClass.PAGE, SubjectClass.SUBRESOURCE})


class BlockExceptions:
    """An address that was blocked is allowed for a while.

    `about` is whether its pages can be about an event, and `shown` what they show; `lasting_s` how long an
    exception for it would last, None where none is made; what `make` makes is in force in every worker when
    it returns, or it raises ValueError, with the reason.
    """

    page, done = "details.html", "excepted.html"
    missing = phrase("no such block, or not yours: log in as you did then")

    def __init__(self, records: Records, override_s: Override) -> None:
        self._records = records
        self._override_s = override_s

    def about(self, event: Event) -> bool:
        """Return whether an event is about something that was asked for."""
        return event.stage != ORIGIN_TLS

    def lasting_s(self, event: Event) -> float | None:
        """Never for downloads, malformed addresses, or what the operator's rules close."""
        return self._offered_s(event) if self._records.whole(event) else None

    def _offered_s(self, event: Event) -> float | None:
        if event.subject != "url" or event.cls not in _OPEN_CLASSES or event.stage is None:
            return None
        if Stage(event.stage) not in OPEN_STAGES or self._records.closed(event):
            return None
        return self._override_s(event.client, event.user)

    def shown(self, event: Event, lasting: str | None, language: Language) -> dict[str, Any]:
        """Return the address and the whole story of its block."""
        address = event.url or event.host or ""
        rows = rows_of(event)
        reported = [(language.say(name), value) for name, value in rows if name in _REPORTED]
        return {
            "subject": shown_host(address),
            "address": inert(address, 2048),
            "url": event.url if event.url and event.url.startswith(("http://", "https://")) else None,
            "rows": rows,
            "download": event.cls not in _OPEN_CLASSES,
            "partial": lasting is None and self._offered_s(event) is not None,
            "report": report_text(inert(address, 2048), reported, language),
        }

    async def make(self, event: Event, duration_s: float) -> None:
        """Allow the address."""
        await self._records.make_exception(event, duration_s)


class PassageExceptions:
    """A host's TLS is passed through unopened for a while."""

    page, done = "unopened.html", "passed.html"
    missing = phrase("no such failure, or not yours: log in as you did then")

    def __init__(self, records: Records, unopened_s: Override) -> None:
        self._records = records
        self._unopened_s = unopened_s

    def about(self, event: Event) -> bool:
        """Return whether an event is about TLS that passing it through would help."""
        return event.kind is EventKind.ERROR and event.stage == ORIGIN_TLS and event.host is not None

    def lasting_s(self, event: Event) -> float | None:
        """Whether the client may, is all; where the host is listed, the passage itself is refused."""
        return self._unopened_s(event.client, event.user)

    def shown(self, event: Event, lasting: str | None, language: Language) -> dict[str, Any]:  # noqa: ARG002
        """Return the host and what was wrong."""
        return {
            "subject": shown_host(event.host or ""),
            "url": event.url,
            "rows": [(name, value) for name, value in rows_of(event) if name != DECIDED],
        }

    async def make(self, event: Event, duration_s: float) -> None:
        """Pass its TLS through."""
        await self._records.pass_through(event, duration_s)


type Exceptions = BlockExceptions | PassageExceptions


def rows_of(event: Event) -> list[tuple[str, str]]:
    """List what is known of an event, by names that a person reads (to be translated)."""
    values = (
        time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(event.time)),
        event.stage,
        event.threat,
        event.risk,
        event.list,
        event.rule,
        event.server,
        event.filename,
        event.sha256,
        event.detail,
        event.id,
    )
    return [(name, inert(value, 500)) for name, value in zip(_LABELS, values, strict=True) if value]


def lasting_text(lasting_s: float | None, language: Language) -> str | None:
    """Return how long an exception lasts; None where none is made."""
    return None if lasting_s is None else shown_minutes(lasting_s, language)
