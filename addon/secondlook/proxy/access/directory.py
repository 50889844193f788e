"""Users of a directory: who was right is remembered, who asks is bounded, and what holds while it is away.

Of a name and its password, remembered as a keyed digest with the time it was last confirmed:

| confirmed | directory answers yes | no | not at all |
|---|---|---|---|
| less than `remember` ago | in, unasked | in, unasked | in, unasked |
| less than `stale` ago | in, confirmed | out, forgotten | in |
| longer ago, or never | in, confirmed | out | out |

An answer of no counts as a wrong try, none at all does not. After a question that got no answer none is asked
for `PAUSE_S`, so that the requests of a page do not each wait for the time-out.
"""

import asyncio
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from lru import LRU

from secondlook.config.ldap import LdapSettings
from secondlook.core.ldap_text import user_name
from secondlook.core.wrong_passwords import WrongPasswords
from secondlook.proxy.access.ldap import DirectoryError, Ldap
from secondlook.proxy.mitm.transport.connection_limits import Complaint

logger = logging.getLogger(__name__)

PAUSE_S: Final = 5.0
LONGEST_PASSWORD_BYTES: Final = 1024
_REMEMBERED: Final = 4096
_AT_ONCE: Final = 8  # questions


class Directory:
    """Lets users of a directory in; `has_to_wait` is whether of an address its tries are used up."""

    def __init__(
        self, settings: LdapSettings, tries: WrongPasswords, has_to_wait: Callable[[str], bool]
    ) -> None:
        self._ldap = Ldap(settings)
        self._remember_s = settings.remember
        self._stale_s = settings.stale
        self._tries = tries
        self._has_to_wait = has_to_wait
        self._complain = Complaint(logger.warning)
        self._key = os.urandom(32)
        self._confirmed_at: LRU[bytes, float] = LRU(_REMEMBERED)
        self._asking: dict[bytes, asyncio.Task[bool]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._pause_until = 0.0

    async def user_of(self, raw_name: str, password: str, address: str) -> str | None:
        """Return the name of who signs in, as it is known here; None: not let in."""
        name = user_name(raw_name)
        if name is None or not _can_be(password):
            if not self._has_to_wait(address):
                self._tries.begin(address, time.monotonic())
            return None
        mark = hmac.digest(self._key, f"{name}\0{password}".encode(), hashlib.sha256)
        if self._age_s(mark) < self._remember_s:
            return name
        asking = self._asking.get(mark)  # the many first requests of a browser are one try
        if asking is None:
            if mark not in self._confirmed_at and self._has_to_wait(address):
                return None
            asking = asyncio.create_task(self._ask(mark, name, password, address), name="directory")
            self._asking[mark] = asking
            asking.add_done_callback(lambda _: self._asking.pop(mark, None))
        return name if await asyncio.shield(asking) else None

    async def _ask(self, mark: bytes, name: str, password: str, address: str) -> bool:
        self._tries.begin(address, time.monotonic())
        right = await self._answer(name, password)
        if right is False:
            self._confirmed_at.pop(mark, None)
            return False
        self._tries.was_right(address)
        if right:
            self._confirmed_at[mark] = time.monotonic()
            return True
        return self._age_s(mark) < self._stale_s

    async def _answer(self, name: str, password: str) -> bool | None:
        async with self._turns:
            if time.monotonic() < self._pause_until:
                return None
            try:
                return await self._ldap.holds(name, password)
            except DirectoryError as error:
                self._pause_until = time.monotonic() + PAUSE_S
                self._complain(f"no answer about users from the directory {error}")
                return None

    def _age_s(self, mark: bytes) -> float:
        """Return how long ago a password was confirmed; infinite where it never was."""
        return time.monotonic() - self._confirmed_at.get(mark, float("-inf"))


def _can_be(password: str) -> bool:
    """Return whether it may be asked about: an empty one would be right for everybody (RFC 4513, 5.1.2)."""
    try:
        return 0 < len(password.encode()) <= LONGEST_PASSWORD_BYTES
    except UnicodeEncodeError:
        return False
