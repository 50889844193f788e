"""Which certificate authorities a TLS client of ours believes."""

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, override
from urllib.parse import urlsplit

import certifi

log = logging.getLogger(__name__)


def trust(*authorities: str | None, only: bool = False) -> ssl.SSLContext:
    """Make TLS settings that verify: the known authorities (unless `only`) and those of the given PEM files.

    Files that change later are read again, see `FollowingTrust`. Raises OSError or ssl.SSLError when a file
    cannot be read as such.
    """
    paths = [path for path in authorities if path is not None]

    def read() -> ssl.SSLContext:
        if only:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = ssl.create_default_context()
            context.load_verify_locations(certifi.where())
        for path in paths:
            context.load_verify_locations(path)
        return context

    return FollowingTrust(read, paths) if paths else read()


def trust_for(url: str, *authorities: str | None, only: bool = False) -> ssl.SSLContext:
    """Make what `trust` makes where a URL has TLS; else no authority is read, and none believed."""
    if urlsplit(url).scheme == "https":
        return trust(*authorities, only=only)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class FollowingTrust(ssl.SSLContext):
    """TLS settings whose files of authorities are read anew, for the next connection, where one has changed.

    What is read takes the place of what was: an authority that has left its file is believed no more. A file
    that cannot be read, such as one half written, changes nothing until it is another one. Connections that
    stand go on. anyio calls `wrap_bio` of a class of its own in a thread: reading holds no event loop up.
    """

    def __new__(cls, _read: Callable[[], ssl.SSLContext], _paths: Sequence[str]) -> Self:
        """Make it a client's, as what `read` gives is."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, read: Callable[[], ssl.SSLContext], paths: Sequence[str]) -> None:
        self._read = read
        self._paths = [Path(path) for path in paths]
        self._protocols: list[str] = []
        marks = self._marks()  # before they are read: what changes meanwhile is read again
        self._last = marks, read()

    @override
    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return self._now().wrap_bio(*args, **options)

    @override
    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return self._now().wrap_socket(*args, **options)

    @override
    def get_ca_certs(self, *args: Any, **options: Any) -> Any:
        return self._now().get_ca_certs(*args, **options)

    @override
    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        self._protocols = list(alpn_protocols)
        self._last[1].set_alpn_protocols(self._protocols)

    def _now(self) -> ssl.SSLContext:
        marks, (known, context) = self._marks(), self._last
        if marks == known:
            return context
        try:
            context = self._read()
            context.set_alpn_protocols(self._protocols)
        except OSError as error:  # ssl.SSLError too
            log.warning(
                "the authorities of %s stay as they were: %s", ", ".join(map(str, self._paths)), error
            )
        self._last = marks, context
        return context

    def _marks(self) -> list[tuple[int, int, int] | None]:
        return [_mark(path) for path in self._paths]


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Return what differs when another file is in a file's place; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
