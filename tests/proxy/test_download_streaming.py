"""Streaming types: never waited for, and no cover for programs (about 3 s)."""

import asyncio
import hashlib
import subprocess
import threading

import pytest

from proxykit.origin import Asked, send, send_chunked
from proxykit.samples import EICAR, EICAR_SHA256, program

BODY = program(300_002)
LIVE = ["text/event-stream", "application/grpc+proto", "application/x-ndjson", "multipart/x-mixed-replace"]


@pytest.mark.parametrize("kind", LIVE)
@pytest.mark.parametrize("length", [True, False])
def test_a_streaming_type_is_no_cover_for_a_program(proxy, gatekeeper, make_origin, curl, kind, length):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    attached = 'Content-Disposition: attachment; filename="setup.exe"'

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        headers = [f"Content-Type: {kind}", *([attached] if "attached" in asked.target else [])]
        if length:
            await send(writer, BODY, *headers)
        else:
            await send_chunked(writer, [BODY[:1], BODY[1:]], *headers)

    origin = make_origin(reply)
    for path in ("/attached", "/setup.exe", "/events"):
        done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}{path}")
        assert BODY[:64] not in done.stdout
        assert done.stdout.startswith(b"HTTP/1.1 403") or done.returncode != 0, path


def test_the_headers_of_a_stream_do_not_wait_for_its_first_event(proxy, make_origin):
    seen = threading.Event()

    async def quiet(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, b"", "Content-Type: text/event-stream", "Connection: close", length=False)
        await writer.drain()
        await asyncio.get_running_loop().run_in_executor(None, seen.wait, 10)
        writer.write(b"data: x\n\n")
        await writer.drain()
        writer.close()

    origin = make_origin(quiet)
    command = ["curl", "-sSNi", "-m", "20", "-x", proxy.url, f"http://127.0.0.1:{origin.port}/events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"HTTP/1.1 200 OK\r\n"
        seen.set()
        assert client.stdout.read().endswith(b"data: x\n\n")


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/octet-stream"])
def test_the_test_file_is_refused_whatever_it_is_called(proxy, gatekeeper, make_origin, curl, kind):
    gatekeeper.bad.add(EICAR_SHA256)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send_chunked(writer, [EICAR[:30], EICAR[30:]], f"Content-Type: {kind}")

    origin = make_origin(reply)
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/x/eicar.com.txt")
    assert done.stdout.startswith(b"HTTP/1.1 403")
