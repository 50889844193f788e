"""The service's side of `STATE/command.sock`: commands are answered with what is running and open here.

A command runs in a thread, with the ledger, the settings and the checker of the service. What runs it is
handed in: the program that starts the proxy has the commands, this package does not know them.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondlook.agent.check.watch import Watcher
from secondlook.config.agent import Settings
from secondlook.ground.json_text import read_json
from secondlook.ground.lanes import COMMANDS
from secondlook.ledger.ledger import Ledger
from secondlook.run.assembly.answers.explaining import Json, explained, subject_from
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.supervisor.command_socket import MOST_ASKED_BYTES, SOCKET_FILE, program_mark

logger = logging.getLogger(__name__)

ASKED_WITHIN_S = 10.0
CHECKED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """What a command finds open where it is answered."""

    settings: Settings
    config: Path | None
    ledger: Ledger
    explain: Callable[[str, str | None], Json]  # a URL or digest, as a client sees it; blocks


type Answer = Callable[[Any, Running], Json]  # runs the command of a request; blocks


@contextlib.asynccontextmanager
async def answering(
    parts: Parts, watcher: Watcher, config: str | None, answer: Answer
) -> AsyncIterator[None]:
    """Answer commands until the block ends. Where no socket can be made, commands go the ordinary way."""
    loop = asyncio.get_running_loop()

    async def fresh(text: str, client: str | None) -> Json:
        await watcher.refresh()  # a rule made a moment ago counts
        return await explained(parts.checker, text, subject_from(text, parts.suffixes), client)

    def explain(text: str, client: str | None) -> Json:
        return asyncio.run_coroutine_threadsafe(fresh(text, client), loop).result(CHECKED_WITHIN_S)

    running = Running(parts.settings, Path(config) if config is not None else None, parts.ledger, explain)
    greeting = {"program": program_mark(), "config": config}
    try:
        sock = _listening(parts.settings.state / SOCKET_FILE)
    except OSError as error:  # a path that is too long, a file system without sockets
        logger.info("commands are not answered here: %s", error)
        yield
        return
    server = await asyncio.start_unix_server(
        lambda reader, writer: _converse(reader, writer, lambda asked: answer(asked, running), greeting),
        sock=sock,
        limit=MOST_ASKED_BYTES,
    )
    try:
        yield
    finally:
        server.close()
        (parts.settings.state / SOCKET_FILE).unlink(missing_ok=True)


def _listening(path: Path) -> socket.socket:
    """Bind a socket that its owner alone may connect to; nobody can before it listens. Raises OSError."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(str(path))
        path.chmod(0o600)
    except OSError:
        sock.close()
        raise
    return sock


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[Any], Json], greeting: Json
) -> None:
    try:
        await _send(writer, greeting)
        async with asyncio.timeout(ASKED_WITHIN_S):
            asked = read_json(await reader.readline())
        await _send(writer, await COMMANDS.run(answer, asked))
    except (OSError, ValueError, TimeoutError):  # who asked hung up, or sends what no command of ours does
        pass
    finally:
        writer.close()


async def _send(writer: asyncio.StreamWriter, answer: Json) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()
