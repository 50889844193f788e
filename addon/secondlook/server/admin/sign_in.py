"""Signing in to the administrator's page: HTTP Basic with one password, tries bounded, success remembered.

A browser sends the password with each request by itself, also with one that another site makes: so every form
carries a token, made of what the browser sent and a secret of this process.
"""

import base64
import hmac
import math
import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from secondlook.core.wrong_passwords import WrongPasswords
from secondlook.ground.lanes import OUTSIDE

TRIES: Final = 5  # wrong passwords a minute from one address …
TRIES_OF_ALL: Final = 50  # … and from all


class SignIn:
    """Who knows the password; `monotonic` gives seconds."""

    def __init__(self, password_hash: str, monotonic: Callable[[], float]) -> None:
        self._hash = password_hash
        self._monotonic = monotonic
        self._hasher = PasswordHasher()
        self._secret = secrets.token_bytes(32)
        self._right: bytes | None = None  # mark of the password that was right
        self._tries = WrongPasswords(TRIES, TRIES_OF_ALL)

    async def knows(self, authorization: str | None, address: str) -> bool:
        """Return whether a header holds the password. Not tried for an address with too many wrong ones."""
        password = _password_of(authorization)
        if password is None:
            return False
        mark = self._mark(password)
        if self._right is not None and hmac.compare_digest(mark, self._right):
            return True
        if self.wait_s(address):
            return False
        self._tries.begin(address, self._monotonic())
        if not await OUTSIDE.run(self._holds, password):
            return False
        self._right = mark
        self._tries.was_right(address)
        return True

    def wait_s(self, address: str) -> int:
        """Return the seconds until this address may try again; 0: now."""
        return math.ceil(self._tries.wait_s(address, self._monotonic()))

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
