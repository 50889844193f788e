"""What a publisher answers: as it was sent, no longer than it may be, within a time for the whole."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from secondlook.ground.errors import PatternError, ServiceError

PLAIN: Final = {"Accept-Encoding": "identity"}  # what unpacks has no size that could be looked at before
PIECE_BYTES: Final = 1 << 20
WHOLE_S: Final = 60.0
LEAST_BYTES_PER_S: Final = 16 << 10


@asynccontextmanager
async def within(path: str, limit: int = 0) -> AsyncGenerator[None]:
    """Bound the time for an answer of at most `limit` bytes; raises ServiceError past it."""
    whole_s = WHOLE_S + limit / LEAST_BYTES_PER_S
    try:
        async with asyncio.timeout(whole_s):
            yield
    except TimeoutError:
        raise ServiceError(f"cannot fetch {path}: not whole within {whole_s:g} s") from None


async def pieces(response: httpx.Response, path: str, limit: int) -> AsyncIterator[bytes]:
    """Give an answer as it comes. Raises ServiceError for a packed one, PatternError past `limit` bytes."""
    if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise ServiceError(f"cannot fetch {path}: compressed without being asked for")
    size = 0
    async for piece in response.aiter_raw(PIECE_BYTES):
        size += len(piece)
        if size > limit:
            raise PatternError(f"{path} is longer than it may be: more than {limit} bytes")
        yield piece


async def whole(response: httpx.Response, path: str, limit: int) -> bytes:
    """Return an answer; raises as `pieces`."""
    return b"".join([piece async for piece in pieces(response, path, limit)])
