"""TLS sessions that are taken up again, by clients and with origins.

A client's ticket holds for the worker that gave it: OpenSSL makes the keys of tickets with a context, and
cannot be given others here (docs/decisions/2026-11-29-tls-sessions.md). With another worker the handshake is
a whole one. What a client asks for is judged by its own hello and its own requests in either case.

A session with an origin is kept for the client for whom it was made, and offered only for the same name,
address, protocols and way of verifying. A context of OpenSSL's stands for the last: versions, ciphers,
authorities and the client's certificate make one. A session was verified when it was made, and carries the
chain that was: who looks at the origin's certificate finds it. It is used once, as RFC 8446 (C.4) asks for,
and each connection that takes one up leaves a new one.
"""

import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

from lru import LRU
from mitmproxy.net import tls as net_tls
from OpenSSL import SSL

KEYS_S = 12 * 3600.0  # a key makes tickets for so long; who has it can read what was sent with TLS 1.2
KEPT = 400  # origins of clients; a session takes some 10 kilobytes, most of them the origin's certificates
EACH = 4  # sessions of one: a browser opens several connections at once
LASTS_S = 3600.0
_OURS = b"secondlook"

type Keep = Callable[[SSL.Connection], None]


class TicketKeys:
    """The keys of the tickets that clients are given."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since = monotonic()

    def renew(self) -> None:
        """Have contexts, and their keys with them, made anew where these are old."""
        now = self._monotonic()
        if now - self._since >= KEYS_S:
            self._since = now
            net_tls.create_client_proxy_context.cache_clear()


def bind_tickets(tls: SSL.Connection) -> None:
    """Have the tickets of a context taken where clients are asked for a certificate (`request_client_cert`).

    OpenSSL ends the handshake of whoever comes again, unless the context has a name, which the connections
    made of it next get. pyOpenSSL takes it only before the first, and mitmproxy makes that with the context.
    """
    context = tls.get_context()._context  # noqa: SLF001
    SSL._lib.SSL_CTX_set_session_id_context(context, _OURS, len(_OURS))  # type: ignore[attr-defined]  # noqa: SLF001


class LastingConnection(SSL.Connection):
    """A connection whose session outlives it.

    OpenSSL takes a session out of use when its connection is freed and was not shut down, as of one that
    failed. Most connections with origins simply end with their client. One that did fail has spoilt its
    session by then (`ssl3_send_alert`, `ssl3_read_bytes`).
    """

    def __del__(self) -> None:
        """Count as shut down."""
        self.set_shutdown(SSL.SENT_SHUTDOWN)


class _Session(NamedTuple):
    session: SSL.Session
    context: SSL.Context
    since: float


class OriginSessions:
    """Sessions with origins, each for one client."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: LRU[Hashable, deque[_Session]] = LRU(KEPT)

    def offer(self, tls: SSL.Connection, key: Hashable) -> None:
        """Offer an origin a session that is kept, and note where its next one belongs (`keep_session`)."""
        tls.__class__ = LastingConnection
        kept = self._kept.get(key)
        while kept:
            session, context, since = kept.pop()
            if context is tls.get_context() and self._monotonic() - since < LASTS_S:
                tls.set_session(session)
                break
        tls.set_app_data(partial(self._keep, key))

    def _keep(self, key: Hashable, tls: SSL.Connection) -> None:
        session = tls.get_session()
        if session is None:
            return
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = deque(maxlen=EACH)
        kept.append(_Session(session, tls.get_context(), self._monotonic()))


def keep_session(tls: SSL.Connection) -> None:
    """Keep an origin's session once it has sent something: its tickets come before its first answer."""
    keep: Keep | None = tls.get_app_data()
    if keep is not None:
        tls.set_app_data(None)
        keep(tls)
