"""How messages end, through a real worker: interim answers, broken connections, old clients. About 3 s."""

import asyncio
import contextlib
import http.client
import logging
import socket
import struct

import pytest

from proxykit.origin import Asked, send, send_chunked

PIECE = b"hello"
HELD_BYTES = 4 << 20


def hang_up_hard(sock: socket.socket) -> None:
    """Have a socket answer its closing with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ask(proxy, origin, path: str, version: str = "1.1") -> bytes:
    """GET a path with a raw socket; what came until the end. Raises ConnectionResetError."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        host = f"127.0.0.1:{origin.port}"
        lines = [f"GET http://{host}{path} HTTP/{version}", f"Host: {host}", "Connection: close", "", ""]
        client.sendall("\r\n".join(lines).encode())
        came = b""
        while piece := client.recv(1 << 16):
            came += piece
        return came


@pytest.mark.parametrize("tls", [False, True])
def test_interim_answers_do_not_take_the_place_of_the_page(proxy, make_origin, curl, tls):
    async def hints(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
        await writer.drain()
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await send(writer, b"page")

    origin = make_origin(hints, tls=tls)
    url = f"{'https' if tls else 'http'}://127.0.0.1:{origin.port}/"
    done = curl(proxy, url, url, "-d", "body", "--http1.1")
    assert done.stdout == b"pagepage", done.stderr
    assert origin.connections == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/x-msdownload"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_body_that_its_origin_broke_off_shows_it(proxy, make_origin, kind, version, broken):
    passed = asyncio.Event()

    async def end(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + PIECE)
        await writer.drain()
        if broken:
            if kind == "text/plain":
                await passed.wait()
            hang_up_hard(writer.get_extra_info("socket"))
        writer.close()

    origin = make_origin(end)
    if not broken:
        came = ask(proxy, origin, "/", version)
        assert came.endswith(PIECE if version == "1.0" else b"0\r\n\r\n"), came
        return
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(f"GET http://127.0.0.1:{origin.port}/ HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        came = b""
        try:
            while piece := client.recv(1 << 16):
                came += piece
                if came.endswith((PIECE, PIECE + b"\r\n")):
                    origin.soon(passed.set)
        except ConnectionResetError:
            came += b"<reset>"
    whole = came.endswith(b"\r\n0\r\n\r\n") or (version == "1.0" and came.endswith(PIECE))
    assert not whole, came


def test_a_client_of_http_1_0_gets_the_body_of_a_chunked_answer(proxy, make_origin):
    async def chunked(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send_chunked(writer, [b"hel", b"lo"], "Content-Type: text/plain")

    head, _, body = ask(proxy, make_origin(chunked), "/", "1.0").partition(b"\r\n\r\n")
    assert body == b"hello"
    assert b"chunked" not in head.lower()


def test_an_answer_may_say_its_length_twice(proxy, make_origin, curl):
    async def twice(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, b"page", "Content-Length: 4")

    done = curl(proxy, "-i", f"http://127.0.0.1:{make_origin(twice).port}/")
    assert done.stdout.endswith(b"\r\n\r\npage")
    assert done.stdout.lower().count(b"content-length: 4") == 1


def test_a_client_that_leaves_while_a_held_file_is_sent_is_no_error(make_proxy, make_origin, caplog):
    async def program(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, b"MZ" + bytes(HELD_BYTES), "Content-Type: application/x-msdownload")

    proxy, origin = make_proxy(downloads={"hold": "full"}), make_origin(program)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
                host = f"127.0.0.1:{origin.port}"
                client.sendall(
                    f"GET http://{host}/a.exe HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                )
                assert client.recv(1000)
                hang_up_hard(client)
            assert b"200 OK" in ask_head(proxy, origin)  # by then the proxy has met the loss
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


def ask_head(proxy, origin) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        host = f"127.0.0.1:{origin.port}"
        request = f"HEAD http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        client.sendall(request.encode())
        return client.recv(1000)


def test_pipelined_requests_are_answered_in_their_order_on_one_connection(proxy, make_origin):
    async def path(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, asked.target.encode())

    origin, count = make_origin(path), 200
    host = f"127.0.0.1:{origin.port}"
    lines = [f"GET http://{host}/{number} HTTP/1.1\r\nHost: {host}\r\n\r\n" for number in range(count)]
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall("".join(lines).encode())
        came = b""
        while not came.endswith(b"/%d" % (count - 1)):
            piece = client.recv(1 << 16)
            assert piece, came
            came += piece
    bodies = [part.split(b"HTTP/1.1")[0] for part in came.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"/%d" % number for number in range(count)]


@pytest.fixture
def closing():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_connection_that_its_origin_closed_meanwhile(proxy, make_origin, closing, ending):
    """The idle time-out of the origin and the next request meet: asked again, once, where that is harmless."""

    async def once(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.target == "/never":
            writer.close()
        elif served.get(writer, 0):
            if ending == "reset":
                hang_up_hard(writer.get_extra_info("socket"))
            writer.close()
        else:
            served[writer] = 1
            await send(writer, asked.method.encode())

    served: dict[asyncio.StreamWriter, int] = {}
    origin = make_origin(once)
    client = closing.enter_context(
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60))
    )

    def ask_for(method: str, path: str = "/", body: bytes | None = None) -> int:
        client.request(method, f"http://127.0.0.1:{origin.port}{path}", body)
        answer = client.getresponse()
        answer.read()
        return answer.status

    assert [ask_for(method) for method in ("GET", "GET", "HEAD", "DELETE", "OPTIONS")] == [200] * 5
    assert origin.connections == 5
    assert [ask_for("POST", body=b"x"), ask_for("GET"), ask_for("PUT", body=b"x")] == [502, 200, 502]
    assert [ask_for("GET"), ask_for("POST")] == [200, 502]
    asked = len(origin.requests)
    assert [ask_for("GET"), ask_for("GET", "/never")] == [200, 502]
    assert len(origin.requests) == asked + 3  # tried once more, not again and again
