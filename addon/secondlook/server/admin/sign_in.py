"""Signing in to the administrator's page: HTTP Basic with one password, tries bounded, success remembered.

A browser sends the password with each request by itself, also with one that another site makes: so every form
carries a token, made of what the browser sent and a secret of this process.
"""

import base64
import hmac
import math
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from secondlook.ground.lanes import OUTSIDE

TRIES: Final = 5  # wrong passwords a minute from one address …
TRIES_OF_ALL: Final = 50  # … and from all
WINDOW_S: Final = 60.0
MOST_ADDRESSES: Final = 1024
EVERYBODY: Final = ""


class SignIn:
    """Who knows the password; `monotonic` gives seconds."""

    def __init__(self, password_hash: str, monotonic: Callable[[], float]) -> None:
        self._hash = password_hash
        self._monotonic = monotonic
        self._hasher = PasswordHasher()
        self._secret = secrets.token_bytes(32)
        self._right: bytes | None = None  # mark of the password that was right
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    async def knows(self, authorization: str | None, address: str) -> bool:
        """Whether a header holds the password. Not tried for an address with too many wrong ones."""
        password = _password_of(authorization)
        if password is None:
            return False
        mark = self._mark(password)
        if self._right is not None and hmac.compare_digest(mark, self._right):
            return True
        if self.wait_s(address):
            return False
        for key in (address, EVERYBODY):  # counted before it is known to be wrong: tries come side by side
            self._wrong.setdefault(key, deque(maxlen=TRIES_OF_ALL)).append(self._monotonic())
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong.pop(next(key for key in self._wrong if key != EVERYBODY))
        if not await OUTSIDE.run(self._holds, password):
            return False
        self._right = mark
        self._wrong.pop(address, None)
        return True

    def wait_s(self, address: str) -> int:
        """Return the seconds until this address may try again; 0: now."""
        return max(self._wait_s(address, TRIES), self._wait_s(EVERYBODY, TRIES_OF_ALL))

    def _wait_s(self, key: str, most: int) -> int:
        now = self._monotonic()
        tries = self._wrong.get(key, deque())
        while tries and tries[0] <= now - WINDOW_S:
            tries.popleft()
        return math.ceil(tries[-most] + WINDOW_S - now) if len(tries) >= most else 0

    def form_token(self, authorization: str | None) -> str:
        """Make the token of the forms that somebody gets who is signed in."""
        return hmac.new(self._secret, b"form\0" + (authorization or "").encode(), sha256).hexdigest()

    def _mark(self, password: bytes) -> bytes:
        return hmac.new(self._secret, b"password\0" + password, sha256).digest()

    def _holds(self, password: bytes) -> bool:
        try:
            return self._hasher.verify(self._hash, password)
        except (Argon2Error, InvalidHashError):
            return False


def _password_of(authorization: str | None) -> bytes | None:
    """Read the password of a header; the name before it may be anything."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return None
