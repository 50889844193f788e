"""Users of the proxy: Basic authentication against Argon2 hashes, for clients that no network lets in.

This machine and the networks of `clients` need no password (one they send is still read: it shows whose
policy holds). Everybody else logs in, where there are users. A password is verified in a thread, a few at a
time; what was right once is remembered as a keyed digest, so that each request does not cost a verification.
Each request is of whom it names: a proxy in front of this one hands on over one connection those of many,
some of whom name nobody. A tunnel is of whom it was opened for, and so is all that comes through it.

Nothing shows whether a user exists: an unknown name is verified against a hash that no password fits, which
takes as long. Wrong tries are bounded, ten a minute from one address (of IPv6: one /64) and not by name, so
that nobody locks a user out from elsewhere; who has used them up is asked to wait (429), without a
verification. What was remembered as right is let in all the same. Each refused one is reported (`refused`).
The many first requests of a browser are one try, and addresses take turns at being verified: who guesses from
many holds up a user by one verification of each.

A directory (`directory`) is asked about names that the settings do not have, in any case of their letters.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import math
import os
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from lru import LRU
from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.layers.modes import Socks5AuthData

from secondlook.agent import metrics
from secondlook.config.ldap import LdapSettings
from secondlook.core.url.address import counted_address
from secondlook.core.wrong_passwords import WrongPasswords
from secondlook.ground.turns import Turns
from secondlook.proxy.mitm.transport.connection_limits import Complaint
from secondlook.proxy.request import peer_text
from secondlook.proxy.response import plain_answer

if TYPE_CHECKING:
    from secondlook.proxy.access.directory import Directory

logger = logging.getLogger(__name__)

USER = "secondlook.user"  # key of a flow's metadata
_HEADER = "proxy-authorization"
_NAME = _HEADER.encode()
_REMEMBERED = 1024
TRIES: Final = 10  # wrong ones of one address, in a minute
_AT_ONCE: Final = 2  # verifications


class _SignedIn(NamedTuple):
    """Who signed in on a connection, and the mark of the credentials; None: for all that comes on it."""

    user: str
    by: bytes | None


class Login:
    """Addon: lets users in; stands before the one that decides."""

    name = "secondlook-login"

    def __init__(
        self,
        users: Mapping[str, str],
        is_open: Callable[[str], bool],
        is_own_site: Callable[[http.HTTPFlow], bool],
        ldap: LdapSettings | None = None,
    ) -> None:
        self._users = dict(users)
        self._own = {name.lower() for name in users}
        self._is_open = is_open
        self._is_own_site = is_own_site
        self.refused: Callable[[str], None] | None = None  # takes whose password was
        self._hasher = PasswordHasher()
        self._tries = WrongPasswords(TRIES)
        self._directory = None if ldap is None else self._open(ldap)
        self._asks = bool(users) or ldap is not None
        self._nobody = next(iter(self._users.values()), None)  # as costly as a user's own
        self._complain = Complaint(logger.warning)
        self._key = os.urandom(32)
        self._right: LRU[bytes, bool] = LRU(_REMEMBERED)
        self._known: weakref.WeakKeyDictionary[Client, _SignedIn] = weakref.WeakKeyDictionary()
        self._verifying: dict[bytes, asyncio.Task[bool]] = {}
        self._turns = Turns(_AT_ONCE)
        self._thread = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="login")

    def _open(self, ldap: LdapSettings) -> "Directory":
        from secondlook.proxy.access.directory import Directory  # noqa: PLC0415 - slow, and few have one

        return Directory(ldap, self._tries, self._has_to_wait)

    def load(self, loader: Any) -> None:
        """Declare the option by which mitmproxy's SOCKS layer asks for a password."""
        if "proxyauth" not in loader.master.options:
            loader.add_option(
                "proxyauth", str | None, "users" if self._asks else None, "set through `clients.users`"
            )

    def user_of(self, client: Client) -> str | None:
        """Name the user of a connection, once signed in."""
        known = self._known.get(client)
        return None if known is None else known.user

    def sign_out(self, client: Client) -> None:
        """Forget who signed in on a connection: the next request may be another's."""
        self._known.pop(client, None)

    def http_connect(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Let a tunnel in; what comes through it needs no further password."""
        return self._enter(flow)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Take no other user from what comes through a tunnel."""
        known = self._known.get(flow.client_conn)
        if known is not None:
            self._known[flow.client_conn] = _SignedIn(known.user, None)

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Let a request in."""
        return self._enter(flow)

    async def socks5_auth(self, data: Socks5AuthData) -> None:
        """Let a SOCKS client in."""
        address = peer_text(data.client_conn.peername) or ""
        user = await self._verify(data.username, data.password, address)
        if user is not None:
            data.valid = True
            self._known[data.client_conn] = _SignedIn(user, None)

    def done(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    def _enter(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        client = flow.client_conn
        known = self._known.get(client)
        header = _take_header(flow.request)
        if known is not None and known.by in {None, header and self._mark(header)}:
            flow.metadata[USER] = known.user
            return None
        self._known.pop(client, None)
        if not self._asks:
            return None
        if header is not None:
            return self._check(flow, header)
        if not self._is_open(peer_text(client.peername) or "") and not self._is_own_site(flow):
            flow.response = _ask()
        return None

    async def _check(self, flow: http.HTTPFlow, header: str) -> None:
        address = peer_text(flow.client_conn.peername) or ""
        try:
            name, password = _read(header)
            user = await self._verify(name, password, address)
        except Exception:
            logger.exception("a login could not be checked")
            user = None
        if user is not None:
            flow.metadata[USER] = user
            self._known[flow.client_conn] = _SignedIn(user, self._mark(header))
        elif not self._is_open(address):
            wait_s = self._tries.wait_s(address, time.monotonic())
            flow.response = _ask() if wait_s <= 0 else _wait(wait_s)

    async def _verify(self, name: str, password: str, address: str) -> str | None:
        if self._directory is not None and name.lower() not in self._own:
            user = await self._directory.user_of(name, password, address)
        else:
            user = name if await self._is_right(name, password, address) else None
        if user is None and self.refused is not None:
            self.refused(address)
        return user

    async def _is_right(self, name: str, password: str, address: str) -> bool:
        expected = self._users.get(name)
        given = f"{name}\0{password}".encode("utf-8", "surrogateescape")
        mark = hmac.digest(self._key, given, hashlib.sha256)
        if expected is not None and mark in self._right:
            return True
        verifying = self._verifying.get(key := mark + address.encode())
        if verifying is None:
            against = expected or self._nobody
            if against is None or self._has_to_wait(address):
                return False
            self._tries.begin(address, time.monotonic())
            verifying = asyncio.create_task(self._verified(against, password, address), name="login")
            self._verifying[key] = verifying
            verifying.add_done_callback(lambda _: self._verifying.pop(key, None))
        if not await asyncio.shield(verifying) or expected is None:
            return False
        if mark not in self._right:
            self._tries.was_right(address)
            self._right[mark] = True
        return True

    async def _verified(self, against: str, password: str, address: str) -> bool:
        loop = asyncio.get_running_loop()
        async with self._turns.turn(counted_address(address), 0):
            return await loop.run_in_executor(self._thread, self._holds, against, password)

    def _mark(self, header: str) -> bytes:
        """Return by what credentials are known again, without keeping them."""
        return hmac.digest(self._key, header.encode("utf-8", "surrogateescape"), "sha256")

    def _has_to_wait(self, address: str) -> bool:
        if self._tries.wait_s(address, time.monotonic()) <= 0:
            return False
        metrics.LOGINS_REFUSED.inc()
        self._complain(f"too many wrong passwords from {address}: none is tried for a minute")
        return True

    def _holds(self, expected: str, password: str) -> bool:
        try:
            return self._hasher.verify(expected, password)
        except InvalidHashError:
            logger.warning("a user in clients.users has no Argon2 hash for a password")
            return False
        except (Argon2Error, UnicodeError):
            return False


def _take_header(request: http.Request) -> str | None:
    """Take the credentials off a request; most have none, which a glance shows."""
    if any(len(name) == len(_NAME) and name.lower() == _NAME for name, _ in request.data.headers.fields):
        taken: str = request.headers.pop(_HEADER)
        return taken
    return None


def _read(header: str) -> tuple[str, str]:
    """Read Basic credentials; what cannot be read is nobody's."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


def _ask() -> http.Response:
    challenge = (b"Proxy-Authenticate", b'Basic realm="Second Look", charset="UTF-8"')
    return plain_answer(407, "this proxy asks for a name and a password", challenge)


def _wait(wait_s: float) -> http.Response:
    text = f"too many wrong passwords from here; wait {wait_s:.0f} seconds"
    return plain_answer(429, text, (b"Retry-After", str(math.ceil(wait_s)).encode()))
