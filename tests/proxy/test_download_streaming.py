"""Streaming types: never waited for, and no cover for programs (about 3 s)."""

import asyncio
import contextlib
import hashlib
import http.client
import threading

import pytest

from proxykit.origin import Asked, send, send_chunked
from proxykit.samples import EICAR, EICAR_SHA256, program
from secondlook.core.verdict import SubjectClass

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


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json-seq"])
def test_what_a_browser_saves_of_a_stream_is_a_download(proxy, gatekeeper, make_origin, curl, kind):
    """A script without a mark: nothing but its being saved tells that it may hurt."""
    script = b"cd /tmp\n" + b"cp a b\n" * 10_000
    gatekeeper.bad.add(hashlib.sha256(script).hexdigest())
    origin = make_origin(
        lambda _, writer: send_chunked(writer, [script[:9000], script[9000:]], f"Content-Type: {kind}")
    )
    done = curl(proxy, "-i", "-H", "Accept: text/html", f"http://127.0.0.1:{origin.port}/get")
    assert done.stdout.startswith(b"HTTP/1.1 403")


FRAME = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff\xe0\0\x10JFIF" + BODY[2:9000] + b"\r\n"
FILE = (
    b"--frame\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\n"
    + BODY
    + b"\r\n--frame--\r\n"
)


@pytest.mark.parametrize("begin", [b"", FRAME * 3])
def test_no_file_is_a_part_of_a_page_that_is_replaced_again_and_again(
    proxy, gatekeeper, make_origin, curl, begin
):
    """Firefox, going there, saves such a part; its digest is none of those of the body."""
    pieces, kind = [begin, FILE[:300], FILE[300:]], "Content-Type: multipart/x-mixed-replace; boundary=frame"
    origin = make_origin(lambda _, writer: send_chunked(writer, pieces, kind))
    going = ["-H", "Accept: text/html,*/*;q=0.8"]
    done = curl(proxy, *going, f"http://127.0.0.1:{origin.port}/live")
    assert done.returncode != 0, "the connection is cut"
    assert begin.startswith(done.stdout)
    how, _, context, _ = gatekeeper.seen[-1]
    assert (how, context.cls) == ("unverifiable", SubjectClass.DOWNLOAD)
    assert curl(proxy, f"http://127.0.0.1:{origin.port}/live").stdout == b"".join(pieces), (
        "it is one body to others"
    )


def test_the_pictures_of_a_camera_go_on_as_they_come(proxy, make_origin, curl):
    kind = "Content-Type: multipart/x-mixed-replace; boundary=frame"
    origin = make_origin(lambda _, writer: send_chunked(writer, [FRAME] * 20, kind))
    done = curl(proxy, "-H", "Accept: text/html", f"http://127.0.0.1:{origin.port}/camera")
    assert (done.returncode, done.stdout) == (0, FRAME * 20)


def test_the_headers_of_a_stream_do_not_wait_for_its_first_event(proxy, make_origin):
    seen, in_time = threading.Event(), []

    async def quiet(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, b"", "Content-Type: text/event-stream", "Connection: close", length=False)
        await writer.drain()
        in_time.append(await asyncio.get_running_loop().run_in_executor(None, seen.wait, 60))
        writer.write(b"data: x\n\n")
        await writer.drain()
        writer.close()

    origin = make_origin(quiet)
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=90)
    with contextlib.closing(client):
        client.request("GET", f"http://127.0.0.1:{origin.port}/events")
        answer = client.getresponse()  # curl keeps headers back until a body comes
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream")
        seen.set()
        assert answer.read() == b"data: x\n\n"
    assert in_time == [True]


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/octet-stream"])
def test_the_test_file_is_refused_whatever_it_is_called(proxy, gatekeeper, make_origin, curl, kind):
    gatekeeper.bad.add(EICAR_SHA256)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send_chunked(writer, [EICAR[:30], EICAR[30:]], f"Content-Type: {kind}")

    origin = make_origin(reply)
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/x/eicar.com.txt")
    assert done.stdout.startswith(b"HTTP/1.1 403")
