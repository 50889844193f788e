"""When a browser that tries https first is let fall back to http.

Chromium and others open `http://site/`, and what a person types without a scheme, as https first, and go on
to http where that fails. Inside a tunnel that is opened every failure would become a page of ours, which is a
success to the browser: a site without https could not be opened at all.

No header distinguishes such a try from a link to https, so the first page load that fails ends as it would
without us; the same one again within a minute gets our page with the reason: whoever meant https sees it at
the next try. Nothing else is ever retried over http by a browser, so everything else gets its answer at once.
"""

from collections.abc import Callable

from lru import LRU

from secondlook.core.url.address import parse_address
from secondlook.download.request_facts import RequestFacts

AGAIN_S = 60.0
_REMEMBERED = 4096
_HTTPS = ("https", 443)


class Fallback:
    """Remembers whose page load of which host was let fail; `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failed: LRU[tuple[str | None, str], float] = LRU(_REMEMBERED)

    def takes(self, client: str | None, asked: RequestFacts, scheme: str, host: str, port: int) -> bool:
        """Return whether this failed request had better end without an answer."""
        if asked.dest != "document" or (scheme, port) != _HTTPS or not _has_public_name(host):
            return False
        now, key = self._now(), (client, host.lower())
        before = self._failed.get(key)
        if before is not None and now - before < AGAIN_S:
            return False
        self._failed[key] = now
        return True


def _has_public_name(host: str) -> bool:
    """Return whether a browser would try https first: not for addresses and names of the own network."""
    return "." in host.strip(".") and parse_address(host) is None
