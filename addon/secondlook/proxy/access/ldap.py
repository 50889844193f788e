"""One question to a directory (LDAP, RFC 4511): whether a password is that of a name.

The answer is that of a simple bind as the user. Its distinguished name is written by a template, or found by
a search; who is not found is bound as somebody made up, which takes as long. `sansldap` speaks the protocol,
here are the connection and its bounds. Referrals are not followed; each question has a connection of its own,
so that none can be answered by what was left over of another.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Final

from sansldap import (
    BindResponse,
    ExtendedOperations,
    ExtendedResponse,
    LDAPClient,
    LDAPError,
    LDAPFilter,
    LDAPMessage,
    LDAPResult,
    LDAPResultCode,
    SearchResultDone,
    SearchResultEntry,
    SearchResultReference,
)

from secondlook.config.ldap import LdapSearch, LdapSettings
from secondlook.core.ldap_text import in_dn, in_filter
from secondlook.ground.errors import SecondLookError
from secondlook.ground.trust import FollowingTrust

MOST_BYTES: Final = 64 << 10  # of all answers to one question
PIECE_BYTES: Final = 4096  # read at once
_NO_ATTRIBUTES: Final = "1.1"  # RFC 4511, 4.5.1.8
# What a directory answers to a bind that it cannot judge now, or not from us: everything else is a no.
_NO_ANSWER: Final = frozenset(
    {
        LDAPResultCode.OPERATIONS_ERROR,
        LDAPResultCode.PROTOCOL_ERROR,
        LDAPResultCode.TIME_LIMIT_EXCEEDED,
        LDAPResultCode.AUTH_METHOD_NOT_SUPPORTED,
        LDAPResultCode.STRONG_AUTH_REQUIRED,
        LDAPResultCode.REFERRAL,
        LDAPResultCode.ADMIN_LIMIT_EXCEEDED,
        LDAPResultCode.CONFIDENTIALITY_REQUIRED,
        LDAPResultCode.BUSY,
        LDAPResultCode.UNAVAILABLE,
        LDAPResultCode.OTHER,
    }
)


class DirectoryError(SecondLookError):
    """The directory gives no answer; the message is the reason."""


class Ldap:
    """Asks a directory."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._place = settings.place
        self._tls = _trust(settings.ca) if settings.encrypted else None

    async def holds(self, name: str, password: str) -> bool:
        """Return whether a user has this password. Raise DirectoryError."""
        if not password:  # the bind of nobody, which succeeds (RFC 4513, 5.1.2)
            return False
        try:
            async with asyncio.timeout(self._settings.timeout), self._connected() as connection:
                dn = await self._dn(connection, name)
                result = await connection.bind(dn, password)
        except TimeoutError:
            raise self._error(f"no answer within {self._settings.timeout:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise self._error(f"its certificate does not hold: {error.verify_message}") from error
        except OSError as error:
            raise self._error(_reason(error)) from error
        except (LDAPError, ValueError) as error:  # a message that is none
            raise self._error(f"it does not speak LDAP as it should: {error}") from error
        if result.result_code in _NO_ANSWER:
            raise self._error(f"it answers a user's bind with {_result(result)}")
        return result.result_code is LDAPResultCode.SUCCESS

    async def _dn(self, connection: "_Connection", name: str) -> str:
        search = self._settings.search
        if search is None:
            return in_dn(self._settings.bind or "", name)
        if search.bind_dn is not None:
            result = await connection.bind(search.bind_dn, search.password)
            if result.result_code is not LDAPResultCode.SUCCESS:
                raise self._error(
                    f"it refuses clients.ldap.search.bind_dn and its password: {_result(result)}"
                )
        result, found = await connection.search(search, name)
        if result.result_code not in {LDAPResultCode.SUCCESS, LDAPResultCode.SIZE_LIMIT_EXCEEDED}:
            raise self._error(f"it answers the search in {search.base} with {_result(result)}")
        if len(found) == 1 and result.result_code is LDAPResultCode.SUCCESS:
            return found[0]
        return f"cn={secrets.token_hex(16)},{search.base}"  # nobody; and two are no one either

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator["_Connection"]:
        tls = self._tls if self._place.tls else None
        reader, writer = await asyncio.open_connection(self._place.host, self._place.port, ssl=tls)
        connection = _Connection(reader, writer)
        try:
            if self._tls is not None and tls is None:
                connection = await self._start_tls(connection)
            yield connection
        finally:
            connection.close()

    async def _start_tls(self, connection: "_Connection") -> "_Connection":
        """Go on in TLS (RFC 4511, 4.14). Reader and session are new: what came in the clear is forgotten."""
        result = await connection.ask_for_tls()
        if result.result_code is not LDAPResultCode.SUCCESS:
            raise self._error(f"it refuses StartTLS: {_result(result)}")
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        assert self._tls is not None
        transport = await loop.start_tls(
            connection.transport, protocol, self._tls, server_hostname=self._place.host
        )
        assert transport is not None
        return _Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    def _error(self, why: str) -> DirectoryError:
        return DirectoryError(f"{self._settings.uri}: {why}")


def _trust(ca: Path | None) -> ssl.SSLContext:
    """Make TLS settings that believe that file alone, as it is now, or what this machine trusts."""
    if ca is None:
        return ssl.create_default_context()
    return FollowingTrust(partial(ssl.create_default_context, cafile=ca), [str(ca)])


class _Connection:
    """One connection and the LDAP spoken on it: a request, then its answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._session = LDAPClient()
        self._left_bytes = MOST_BYTES

    @property
    def transport(self) -> asyncio.WriteTransport:
        return self._writer.transport

    async def bind(self, dn: str, password: str | None) -> LDAPResult:
        answer, _ = await self._ask(lambda session: session.bind_simple(dn, password))
        if not isinstance(answer, BindResponse):
            raise LDAPError(f"{type(answer).__name__} answers a bind")
        return answer.result

    async def search(self, search: LdapSearch, name: str) -> tuple[LDAPResult, list[str]]:
        """Return the names of at most two entries: one is found, two are ambiguous."""
        answer, before = await self._ask(
            lambda session: session.search_request(
                search.base,
                filter=LDAPFilter.from_string(in_filter(search.filter, name)),
                attributes=[_NO_ATTRIBUTES],
                size_limit=2,
            )
        )
        if not isinstance(answer, SearchResultDone):
            raise LDAPError(f"{type(answer).__name__} answers a search")
        return answer.result, [each.object_name for each in before if isinstance(each, SearchResultEntry)]

    async def ask_for_tls(self) -> LDAPResult:
        answer, _ = await self._ask(
            lambda session: session.extended_request(ExtendedOperations.LDAP_START_TLS.value)
        )
        if not isinstance(answer, ExtendedResponse):
            raise LDAPError(f"{type(answer).__name__} answers StartTLS")
        return answer.result

    def close(self) -> None:
        with contextlib.suppress(LDAPError, OSError, RuntimeError):
            self._session.unbind()
            self._writer.write(self._session.data_to_send())
        self._writer.transport.abort()

    async def _ask(self, request: Callable[[LDAPClient], int]) -> tuple[LDAPMessage, list[LDAPMessage]]:
        """Return the answer that ends a request, and those before it."""
        request(self._session)
        self._writer.write(self._session.data_to_send())
        await self._writer.drain()
        before: list[LDAPMessage] = []
        while True:
            data = await self._reader.read(PIECE_BYTES)
            if not data:
                raise LDAPError("it hung up")
            self._left_bytes -= len(data)
            if self._left_bytes < 0:
                raise LDAPError(f"more than {MOST_BYTES} bytes of answers")
            for message in self._read(data):
                if not isinstance(message, SearchResultEntry | SearchResultReference):
                    return message, before
                before.append(message)

    def _read(self, data: bytes) -> list[LDAPMessage]:
        try:
            return self._session.receive(data)
        except Exception as error:  # of a damaged message sansldap lets out whatever meets it, IndexError too
            raise LDAPError(str(error)) from error


def _reason(error: OSError) -> str:
    """Return the system's words for it: asyncio's own name no reason."""
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror or error) or "it hung up in place of TLS"
    return os.strerror(error.errno)


def _result(result: LDAPResult) -> str:
    words = result.diagnostics_message[:200]
    return f"{result.result_code.name} ({words})" if words else result.result_code.name
