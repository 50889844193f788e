"""Who may use the review page: one-time links, signed session cookies, passwords, CSRF tokens.

A link works once: its token is exchanged for a cookie and replaced. The same token, read from
`run.json` by somebody who may read the state folder, is also the API's bearer token. What collects metrics
reads its token once, so that one stays, and opens nothing else. A cookie that a password opened holds as long
as that password does.

Who signed in with the password has a second cookie, which opens nothing: from a browser that has it wrong
tries are counted apart, so that nobody who guesses, be it from the same address, keeps its user out.
"""

import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from secondlook.core.wrong_passwords import WrongPasswords
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json

COOKIE = "second_look_session"
DEVICE = "second_look_device"
SESSION_S = 30 * 24 * 3600
DEVICE_S = 400 * 24 * 3600  # browsers keep a cookie no longer
LOGIN_TRIES = 5  # wrong ones a minute of one client, and ten times that of all together
MOST_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser; `csrf` goes into its forms."""

    id: str
    csrf: str


class Ended:
    """Sessions that were signed out, each kept until its cookie would be too old anyway.

    `path` None keeps them in memory. Where the file cannot be read, nobody stays signed in: `after` then
    refuses every cookie made before now.
    """

    def __init__(self, path: Path | None, now: float) -> None:
        self._path = path
        self.after = 0.0
        self._until: dict[str, float] = {}
        if path is None:
            return
        try:
            kept = read_json(path.read_text(encoding="utf-8"))
            self.after = float(kept["after"])
            self._until = {str(name): float(until) for name, until in kept["ended"].items() if until > now}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.after = now

    def __contains__(self, session_id: str) -> bool:
        """Whether it was ended."""
        return session_id in self._until

    def add(self, session_id: str, now: float) -> None:
        """End one, in the file too; blocks. Raises OSError where that cannot be written."""
        left = {name: until for name, until in self._until.items() if until > now}
        if len(left) >= MOST_ENDED:  # never forgotten one by one: then all end
            left, self.after = {}, now
        self._until = {**left, session_id: now + SESSION_S}
        if self._path is not None:
            write_whole(self._path, json.dumps({"after": self.after, "ended": self._until}).encode())


class Doorkeeper:
    """Makes and checks every proof of access.

    `secret` (32 bytes) signs cookies and outlives restarts; `renewed` is called with each new link token so
    that `run.json` always holds one that works; `ended` is the file of sessions that were signed out.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        password_hash: str | None = None,
        renewed: Callable[[str], None] = lambda _token: None,
        ended: Path | None = None,
    ) -> None:
        self._secret = secret
        self._by_link = URLSafeTimedSerializer(secret, salt="second-look-by-link")
        self._by_password = URLSafeTimedSerializer(secret, salt=f"second-look-by-password:{password_hash}")
        self._by_device = URLSafeTimedSerializer(secret, salt="second-look-device")
        self._hasher = PasswordHasher()
        self._password_hash = password_hash
        self._renewed = renewed
        self._ended = Ended(ended, time.time())
        self._tries = WrongPasswords(LOGIN_TRIES, 10 * LOGIN_TRIES)
        self._tries_of_known = WrongPasswords(LOGIN_TRIES)
        self.token = secrets.token_urlsafe(24)
        self.metrics_token = hmac.new(secret, b"metrics", sha256).hexdigest()

    @property
    def has_password(self) -> bool:
        """Whether signing in with a password is possible."""
        return self._password_hash is not None

    def redeem(self, token: str) -> str | None:
        """Exchange a link token, once, for a cookie value."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        self.token = secrets.token_urlsafe(24)
        self._renewed(self.token)
        return _new_cookie(self._by_link)

    def sign_in(self, password: str) -> str | None:
        """Exchange the password for a cookie value; slow by design (Argon2): call it off the event loop."""
        if self._password_hash is None:
            return None
        try:
            self._hasher.verify(self._password_hash, password)
        except (VerificationError, InvalidHashError, UnicodeError):  # a form may name an odd charset
            return None
        return _new_cookie(self._by_password)

    def tries(self, device: str | None, client: str) -> tuple[WrongPasswords, str]:
        """Return where tries with the password are counted, and of whom: a known browser, or an address."""
        known = device and _opened(self._by_device, device, DEVICE_S)
        return (self._tries_of_known, known[0]) if known else (self._tries, client)

    def new_device(self) -> str:
        """Make the cookie by which a browser is known again."""
        return _new_cookie(self._by_device)

    def session(self, cookie: str | None) -> Session | None:
        """Read a cookie back; None when it is missing, forged, too old or of another password."""
        if not cookie:
            return None
        opened = _opened(self._by_link, cookie, SESSION_S) or _opened(self._by_password, cookie, SESSION_S)
        if opened is None:
            return None
        session_id, made = opened
        if session_id in self._ended or made < self._ended.after:
            return None
        csrf = hmac.new(self._secret, f"csrf:{session_id}".encode(), sha256).hexdigest()
        return Session(session_id, csrf)

    def sign_out(self, session: Session) -> None:
        """End a session for good: a copy of its cookie opens nothing. Blocks; raises OSError."""
        self._ended.add(session.id, time.time())

    def bearer(self, header: str | None, *, metrics: bool) -> bool:
        """Whether an `Authorization` header carries the API's bearer token, or, for the metrics, theirs."""
        scheme, _, token = (header or "").partition(" ")
        opening = (self.token, self.metrics_token) if metrics else (self.token,)
        return scheme.lower() == "bearer" and any(
            hmac.compare_digest(token.strip().encode(), each.encode()) for each in opening
        )


def _new_cookie(signer: URLSafeTimedSerializer) -> str:
    return str(signer.dumps(secrets.token_urlsafe(18)))


def _opened(signer: URLSafeTimedSerializer, cookie: str, max_age_s: int) -> tuple[str, float] | None:
    """Return a cookie's session and when it was made (Unix seconds); None: not signed here, or too old."""
    try:
        session_id, made = signer.loads(cookie, max_age=max_age_s, return_timestamp=True)
    except BadSignature:
        return None
    return session_id, made.timestamp()


def csrf_ok(session: Session, given: str | None) -> bool:
    """Compare a form's or header's CSRF token with the session's."""
    return given is not None and hmac.compare_digest(session.csrf.encode(), given.encode())


def session_of(request: Request) -> Session | None:
    """Return the session that the gate found; None for bearer-token requests and open pages."""
    session: Session | None = request.scope.get("session")
    return session


def name_at(name: str, host: str) -> str:
    """Name a cookie of the page at this `Host`: to browsers the page of another port is the same place."""
    port = host.rpartition(":")[2]
    return f"{name}_{port}" if port.isascii() and port.isdecimal() else name


def sent_to(host: str, cookies: Mapping[str, str], name: str) -> str | None:
    """Return a cookie of the page at this `Host`; one without a port is of an older version or a program."""
    return cookies.get(name_at(name, host)) or cookies.get(name)


def set_session(response: Response, cookie: str, host: str, *, secure: bool) -> None:
    """Give the browser its session cookie."""
    response.set_cookie(
        name_at(COOKIE, host), cookie, httponly=True, samesite="strict", secure=secure, path="/"
    )


def end_session(response: Response, host: str) -> None:
    """Take the session cookie out of the browser."""
    for name in {COOKIE, name_at(COOKIE, host)}:
        response.delete_cookie(name, path="/", httponly=True, samesite="strict")


def set_device(response: Response, cookie: str, host: str, *, secure: bool) -> None:
    """Have a browser known again when somebody signs in there."""
    response.set_cookie(
        name_at(DEVICE, host),
        cookie,
        max_age=DEVICE_S,
        httponly=True,
        samesite="strict",
        secure=secure,
        path="/sign-in",
    )
