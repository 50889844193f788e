"""Whether the fronts answer: the proxy wherever it listens, a gateway's helpers at their socket, and ICAP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from secondlook.config.agent import SINGLE_WORKER_MODES
from secondlook.run.diagnosis.check_result import NETWORK_TIMEOUT_S, CheckResult
from secondlook.run.supervisor.listening import visited

MOST_SHOWN_CHARS = 200  # of what answers in the proxy's place: it may be anything
_MODES_WITH_PAGES = frozenset({"regular", "upstream"})  # on the address where the proxy listens


async def fronts(running: dict[str, Any] | None, budget_s: float) -> AsyncIterator[CheckResult]:
    """Ask each front that a run file names; a gateway's may take `budget_s` beside the network's time."""
    if running is None:
        return
    for address in running["listen"]:
        yield await _proxy_answers(str(address), str(running["mode"]))
    if running.get("gateway") is not None:
        yield await _gateway_answers(Path(running["gateway"]), budget_s)
    if running.get("icap") is not None:
        yield await _icap_answers(str(running["icap"]))


async def _proxy_answers(address: str, mode: str) -> CheckResult:
    if mode.partition(":")[0] in SINGLE_WORKER_MODES:  # WireGuard and its like: no door to knock at
        return CheckResult("proxy", "ok", f"the proxy serves {address} (mode {mode})")
    if mode.partition(":")[0] not in _MODES_WITH_PAGES:
        return await _takes_connections(address, mode)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=NETWORK_TIMEOUT_S) as client:
            answer = await client.get(f"http://{visited(address)}/healthz")
    except httpx.HTTPError as error:
        text = f"the proxy on {address} does not answer: {str(error) or 'it took too long'}"
        return CheckResult("proxy", "problem", text, "start it again")
    state = answer.text.strip()
    if state != "ok":
        text = f"the proxy on {address} says: {state[:MOST_SHOWN_CHARS]}"
        return CheckResult("proxy", "problem", text, "see its messages and `log`")
    return CheckResult("proxy", "ok", f"the proxy answers on {address}")


async def _gateway_answers(path: Path, budget_s: float) -> CheckResult:
    """Ask as a gateway's helper would, for a name of which nothing is written down."""
    try:
        async with asyncio.timeout(NETWORK_TIMEOUT_S + budget_s):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(b"1 127.0.0.1 - GET http://secondlook.internal/\n")
                answer = await reader.readline()
            finally:
                writer.close()
    except OSError as error:  # TimeoutError too
        text = f"helpers of a gateway get no answer at {path}: {error.strerror or 'it took too long'}"
        return CheckResult("gateway", "problem", text, "start Second Look again")
    if not answer.startswith(b"1 OK"):
        text = f"helpers of a gateway get at {path}: {answer.decode('latin-1').strip() or 'nothing'}"
        return CheckResult("gateway", "problem", text, "see its messages and `log`")
    return CheckResult("gateway", "ok", f"helpers of a gateway get answers at {path}")


async def _icap_answers(address: str) -> CheckResult:
    """Ask as a gateway does when it starts."""
    ask = f"OPTIONS icap://{address}/respmod ICAP/1.0\r\nHost: {address}\r\n\r\n"
    try:
        async with asyncio.timeout(NETWORK_TIMEOUT_S):
            reader, writer = await _connect(address)
            try:
                writer.write(ask.encode("ascii"))
                line = (await reader.read(MOST_SHOWN_CHARS)).partition(b"\r")[0]
            finally:
                writer.close()
    except OSError as error:  # TimeoutError too
        text = f"a gateway gets no ICAP answer on {address}: {error.strerror or 'it took too long'}"
        return CheckResult("icap", "problem", text, "start Second Look again")
    if line.startswith(b"ICAP/1.0 200"):
        return CheckResult("icap", "ok", f"a gateway gets ICAP answers on {address}")
    if line.startswith(b"ICAP/1.0 403"):
        text = f"ICAP is served on {address}, not to this machine (`gateway.icap.clients`)"
        return CheckResult("icap", "ok", text)
    text = f"a gateway gets by ICAP on {address}: {line.decode('latin-1') or 'nothing'}"
    return CheckResult("icap", "problem", text, "see its messages and `log`")


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = visited(address).rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def _takes_connections(address: str, mode: str) -> CheckResult:
    """Knock where nothing can be asked: the other modes do not speak HTTP about themselves."""
    try:
        async with asyncio.timeout(NETWORK_TIMEOUT_S):
            _, writer = await _connect(address)
    except OSError as error:  # TimeoutError too
        text = f"the proxy on {address} takes no connection: {error.strerror or 'no answer'}"
        return CheckResult("proxy", "problem", text, "start it again")
    writer.close()
    return CheckResult("proxy", "ok", f"the proxy takes connections on {address} (mode {mode})")
