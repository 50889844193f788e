"""A late verdict on the next page load: who was let through to something bad sees it before the next page.

Off by default (`notify.next_page`). An addon before the one that decides: it answers one navigation of that
client with a page that names the event and leads on to where the client was going. What was shown is written
down as an event, by which every worker knows; so a client is notified once, whichever worker it meets.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mitmproxy import http

from secondlook.core.event import Event, EventKind
from secondlook.core.neutralize import inert
from secondlook.download.request_facts import read_request_facts
from secondlook.ground.clock import Clock
from secondlook.proxy.event_follower import Follower, Tail
from secondlook.proxy.request import peer_text, request_url
from secondlook.refusal.block_page import Pages
from secondlook.refusal.language import phrase
from secondlook.refusal.refusal import Form, fitting_form
from secondlook.refusal.wording import THREATS

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
LOOK_AT_MOST_S = 0.5
LOOK_BACK_S = 86_400.0
MOST_CLIENTS = 10_000
NOTIFIED = "late_told"  # under `extra` of the event of a client that was notified
VERDICTS = frozenset({EventKind.CONFIRMED, EventKind.LATE_VERDICT})


class LateNotices:
    """Knows which client is still to be notified of what, and does it."""

    def __init__(
        self,
        tail: Tail,
        pages: Pages,
        clock: Clock,
        new_id: Callable[[float], str],
        is_own_site: Callable[[http.HTTPFlow], bool],
    ) -> None:
        self._tail = tail
        self._pages = pages
        self._clock = clock
        self._new_id = new_id
        self._is_own_site = is_own_site
        self._waiting: dict[str, dict[str, Event]] = {}
        self._log = Follower(tail, lambda: clock.now() - LOOK_BACK_S, self._take, every_s=LOOK_EVERY_S)

    def running(self) -> None:
        """Begin to follow the log."""
        self._log.start()

    async def done(self) -> None:
        """Stop following."""
        await self._log.aclose()

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Answer a navigation of a client for whom a notice waits."""
        try:
            client = peer_text(flow.client_conn.peername)
            if client is not None and self._waiting.get(client) and self._is_navigation(flow):
                return self._notify(flow, client)
        except Exception:
            # The check itself comes after this addon: nothing is opened by going on.
            logger.exception("a late verdict could not be shown")
        return None

    def _is_navigation(self, flow: http.HTTPFlow) -> bool:
        if flow.response is not None or flow.request.method != "GET" or self._is_own_site(flow):
            return False
        facts = read_request_facts(flow.request.data.headers.fields)
        return facts.dest in (None, "document") and fitting_form(facts, flow.request.path)[0] is Form.PAGE

    async def _notify(self, flow: http.HTTPFlow, client: str) -> None:
        try:
            async with asyncio.timeout(LOOK_AT_MOST_S):
                await self._log.look()  # another worker may have shown it a moment ago
            if self._waiting.get(client):
                self._answer(flow, client, self._waiting[client])
        except TimeoutError:
            return  # the page asked for does not wait for the ledger: shown on a later one
        except Exception:
            logger.exception("a late verdict could not be shown")

    def _answer(self, flow: http.HTTPFlow, client: str, events: dict[str, Event]) -> None:
        event_id, event = next(iter(events.items()))
        del events[event_id]
        now = self._clock.now()
        self._tail.record(
            Event(
                id=self._new_id(now),
                kind=EventKind.ACTION,
                time=now,
                client=client,
                url=event.url,
                host=event.host,
                identity=event.identity,
                detail="shown on the next page load",
                extra={NOTIFIED: event_id},
            )
        )
        asked = read_request_facts(flow.request.data.headers.fields)
        language = self._pages.language(asked.language)
        opened = event.filename or event.url or event.host
        body = self._pages.render(
            "late.html",
            language,
            subject=inert(opened, 500) if opened else language.say("something that is not kept"),
            threat=language.say(THREATS.get(event.threat, phrase("harmful"))),
            unchecked=event.kind == EventKind.CONFIRMED,
            event_id=event_id,
            go_on=request_url(flow.request, asked),
        )
        headers = [(b"Content-Type", b"text/html; charset=utf-8"), (b"Cache-Control", b"no-store")]
        headers += [*self._pages.headers(sandbox=True), *self._pages.language_headers(language)]
        flow.response = http.Response.make(200, body, http.Headers(headers))

    def _take(self, event: Event) -> None:
        extra = event.extra or {}
        if event.kind in VERDICTS:
            named = extra.get("clients")
            clients = [str(client) for client in named] if isinstance(named, list) else [event.client or ""]
            for client in clients:
                if client in self._waiting or len(self._waiting) < MOST_CLIENTS:
                    self._waiting.setdefault(client, {})[event.id] = event
        elif event.client is not None and NOTIFIED in extra:
            self._waiting.get(event.client, {}).pop(str(extra[NOTIFIED]), None)
