"""A connection of the server until its handshake is done: counted from its first moment, and then another's.

Both ends of a real connection are here: the client's TLS is made by hand (`Client`), so that a test decides
what comes in one piece.
"""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
from uvicorn.server import ServerState

from e2e.processes import make_certificate
from secondlook.config.service import LimitsSettings
from secondlook.ground.tcp import listen_on
from secondlook.server.http.connection import BoundedConnection, Connections, server_settings
from secondlook.server.http.handshake import Handshake, secured, server_context

pytestmark = pytest.mark.anyio
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LONG_S = 60.0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


async def answer(scope, receive, send):
    path = scope["path"].encode()
    headers = [(b"content-length", b"%d" % len(path))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": path})


class Client:
    """The other end of a connection, and its TLS."""

    def __init__(self, sock, certificate):
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        trusting = ssl.create_default_context(cafile=certificate)
        self.tls = trusting.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def receive(self):
        """What comes next; nothing where the other side closed or reset."""
        with suppress(ConnectionError):
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sock, 1 << 16), LONG_S)
        return b""

    async def shake_hands(self):
        """Do all of a handshake but the last thing that is sent; returns that."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send(self._out.read())
                self._in.write(await self.receive())
            else:
                return self._out.read()

    def sealed(self, data):
        self.tls.write(data)
        return self._out.read()

    async def read(self):
        """What comes until the end, which is answered."""
        whole = b""
        while data := await self.receive():
            self._in.write(data)
            with suppress(ssl.SSLWantReadError):
                while piece := self.tls.read(1 << 16):
                    whole += piece
                self.tls.unwrap()
                await self.send(self._out.read())
        return whole


class Server:
    """What the connections of one server share."""

    def __init__(self, files, listener, **limits):
        self.connections = Connections(LimitsSettings(**{"timeout": LONG_S, **limits}), lambda _: False)
        self.state = ServerState()
        kind = secured(self.connections, server_context(*files))
        self._config = server_settings(answer, kind)
        self._config.load()
        self._files, self._listener = files, listener
        self.opened = []

    def protocol(self):
        return self._config.http_protocol_class(config=self._config, server_state=self.state, app_state={})

    async def connect(self):
        """Connect a client; returns the connection's protocol and the client."""
        ours = socket.create_connection(self._listener.getsockname())
        theirs, _ = self._listener.accept()
        ours.setblocking(False)
        self.opened.append(ours)
        protocol = self.protocol()
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, theirs)
        return protocol, Client(ours, self._files[0])

    @property
    def open(self):
        """The kinds of connections that the server would end when it stops."""
        return sorted(type(each).__mro__[1].__name__ for each in self.state.connections)


@asynccontextmanager
async def serving(files, **limits):
    with listen_on("127.0.0.1", 0) as listener:
        listener.setblocking(True)
        server = Server(files, listener, **limits)
        try:
            yield server
        finally:
            for each in [*server.state.connections]:
                each.shutdown()
            for sock in server.opened:
                sock.close()


async def test_a_connection_is_counted_before_anything_came_of_it(files):
    async with serving(files) as server:
        protocol, _ = await server.connect()
        assert isinstance(protocol, Handshake)
        assert len(server.connections) == 1
        assert server.state.connections == {protocol}
        assert protocol.address == "127.0.0.1"
        assert protocol.is_receiving
        assert not protocol.is_answering  # it may be closed for another


async def test_after_its_handshake_a_connection_is_a_bounded_one(files):
    async with serving(files) as server:
        protocol, client = await server.connect()
        await client.send(await client.shake_hands())
        await client.send(client.sealed(GET.replace(b" / ", b" /first ")))
        whole = await client.read()
        assert whole.startswith(b"HTTP/1.1 200")
        assert whole.endswith(b"/first")
        assert protocol not in server.state.connections


async def test_a_connection_is_counted_once_before_and_after(files):
    async with serving(files) as server:
        _, client = await server.connect()
        await client.send(await client.shake_hands() + client.sealed(GET[:10]))
        while server.open == ["Handshake"] or not server.open:
            await asyncio.sleep(0)
        assert server.open == [BoundedConnection.__name__]
        assert len(server.connections) == 1


async def test_a_request_in_one_piece_with_the_handshakes_end_is_answered_once(files):
    async with serving(files) as server:
        _, client = await server.connect()
        last = await client.shake_hands()
        await client.send(last + client.sealed(GET[:20]) + client.sealed(GET[20:]))
        whole = await client.read()
        assert whole.count(b"HTTP/1.1 200") == 1
        assert b"400" not in whole.splitlines()[0]


class Newer:
    """Another connection, which is counted at a moment that the test chooses."""

    is_answering, is_receiving = False, True
    since = address = ended = None

    def end(self):
        self.ended = True


async def test_one_that_makes_room_as_its_handshake_ends_becomes_no_connection(files):
    async with serving(files, connections=1) as server:
        protocol, client = await server.connect()
        newer, came = Newer(), []

        def make_room(data):
            came.append(data)
            assert server.connections.admit(newer, "127.0.0.2")

        protocol.data_received = make_room
        await client.send(await client.shake_hands() + client.sealed(GET))
        assert await client.read() == b""
        assert came == [GET]
        assert server.open == []
        assert len(server.connections) == 1
        assert not newer.ended  # as it would be, were the other one counted again


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", GET])
async def test_what_is_no_handshake_or_does_not_end_is_cut_and_counted_out(files, first):
    async with serving(files, timeout=0.05) as server:
        _, client = await server.connect()
        await client.send(first)
        while data := await client.receive():
            assert b"HTTP" not in data
        while server.open:
            await asyncio.sleep(0)
        assert len(server.connections) == 0


async def test_one_that_leaves_in_its_handshake_is_counted_out(files):
    async with serving(files) as server:
        await server.connect()
        server.opened[0].close()
        while server.open:
            await asyncio.sleep(0)
        assert len(server.connections) == 0


async def test_one_too_many_takes_the_place_of_the_one_that_waits_longest(files):
    async with serving(files, connections=2) as server:
        first, client = await server.connect()
        others = {(await server.connect())[0], (await server.connect())[0]}
        assert server.state.connections == others
        assert len(server.connections) == 2
        assert await client.receive() == b""
        assert first not in others


async def test_without_any_room_a_connection_is_closed_and_no_handshake_begins(files):
    async with serving(files, connections=1) as server:
        held, _ = await server.connect()
        held.is_answering = True
        refused, client = await server.connect()
        assert await client.receive() == b""
        assert server.state.connections == {held}
        assert refused.address == ""


@pytest.mark.parametrize("how", [Handshake.end, Handshake.shutdown])
async def test_a_handshake_is_ended_at_once(files, how):
    async with serving(files) as server:
        protocol, client = await server.connect()
        how(protocol)
        assert server.open == []
        assert len(server.connections) == 0
        assert await client.receive() == b""


async def test_a_connection_that_is_ended_later_does_not_wait_for_the_other_sides_goodbye(files):
    async with serving(files) as server:
        _, client = await server.connect()
        await client.send(await client.shake_hands())
        while server.open != [BoundedConnection.__name__]:
            await asyncio.sleep(0)
        [connection] = server.state.connections
        connection.end()
        for _ in range(3):
            await asyncio.sleep(0)
        assert server.open == []  # its socket is closed: the client never answered


@pytest.mark.parametrize("wrong", ["missing", "no certificate", "another key"])
def test_files_that_cannot_be_served_with(files, wrong, tmp_path):
    certificate, key = files
    match wrong:
        case "missing":
            certificate = tmp_path / "missing.pem"
        case "no certificate":
            certificate = key
        case _:
            _, key = make_certificate(tmp_path, "127.0.0.1")
    with pytest.raises(OSError):
        server_context(certificate, key)


def test_a_certificate_and_its_key_may_stand_in_one_file(files, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(path.read_bytes() for path in files))
    assert server_context(both, None).minimum_version >= ssl.TLSVersion.TLSv1_2
