"""TLS and tunnels. What a client or a site does to have its bytes not looked at, or to make handshakes dear."""

import contextlib
import datetime as dt
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from attack.conftest import LISTED_ADDRESS
from attackkit.stand import at_once, heard
from proxykit.samples import EICAR


def hello(name: str = "127.0.0.1") -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO, bytes]:
    """Begin TLS; gives the ClientHello too."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return tls, incoming, outgoing, outgoing.read()


class Listener:
    """A server on a raw socket that answers each connection with some bytes once it has heard something."""

    def __init__(self, answer: bytes, address: str = "127.0.0.1", port: int = 0) -> None:
        self.connections = 0
        self._answer = answer
        self.socket = socket.create_server((address, port))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                self.connections += 1
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(2)
                    peer.recv(4096)
                    peer.sendall(self._answer)


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(answer: bytes = b"reached", **where: object) -> Listener:
        made.append(Listener(answer, **where))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.socket.shutdown(socket.SHUT_RDWR)  # ends what waits for a client
        one.socket.close()


@pytest.mark.parametrize("cuts", [(1,), (2,), (5,), tuple(range(1, 40))], ids=["1", "2", "5", "each"])
def test_split_hello(stand, cuts):
    """A ClientHello cut after so many bytes, then a listed file: the file does not arrive."""
    stand.site.put("/eicar.com", EICAR, "Content-Type: application/octet-stream")
    tls, incoming, outgoing, first = hello()
    with stand.tunnel(stand.site.tls.port) as line:
        line.settimeout(5)
        for begin, end in zip((0, *cuts), (*cuts, len(first)), strict=True):
            line.sendall(first[begin:end])
            time.sleep(0.02)
        came = b""
        with contextlib.suppress(OSError):
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    line.sendall(outgoing.read())
                    incoming.write(line.recv(65536))
            tls.write(b"GET /eicar.com HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            line.sendall(outgoing.read())
            while data := line.recv(65536):
                incoming.write(data)
                with contextlib.suppress(ssl.SSLError):
                    came += tls.read(65536)
    assert came
    assert EICAR not in came


@pytest.mark.parametrize("offer", ["h3", "h3-29"])
@pytest.mark.parametrize("name", ["127.0.0.1", "a-.test", "-a.test", "a.test."])
def test_odd_hellos(stand, offer, name):
    """A ClientHello that offers HTTP/3 alone over TCP, for names that OpenSSL takes for none: it is served."""
    context = stand.trusting(offer)
    context.check_hostname = False
    with stand.tunnel(stand.site.tls.port) as line, context.wrap_socket(line, server_hostname=name) as tls:
        assert tls.selected_alpn_protocol() is None
        tls.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert b" 200 " in tls.recv(65536)


def test_unknown_to_listed(stand, listen):
    """A tunnel to a listed address with bytes that nobody knows, also on the port of DNS: the address is not reached."""
    begun = time.time()

    def one(port: int, first: bytes) -> None:
        with stand.tunnel(port, LISTED_ADDRESS) as line:
            line.sendall(first)
            assert b"reached" not in heard(line, 3), (port, first)

    there = [listen(address=LISTED_ADDRESS, port=port) for port in (0, 5353)]
    beginnings = (b"\x01\x02\x03\x04", b"SSH-2.0-x\r\n", b"\x00\x1d" + os.urandom(29), b"\x16\x03")
    at_once(
        *(lambda port=place.port, first=first: one(port, first) for place in there for first in beginnings)
    )
    assert not [place for place in there if place.connections]
    stand.event(begun, lambda event: event["kind"] == "blocked" and LISTED_ADDRESS in str(event))


def test_odd_beginnings(stand, listen):
    """HTTP inside a tunnel behind odd first bytes, for a listed page: it is not reached, or known as what it is."""
    page = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(EICAR), EICAR)

    def one(begin: bytes) -> None:
        there = listen(page, address=LISTED_ADDRESS)
        with stand.tunnel(there.port, LISTED_ADDRESS) as line:
            line.sendall(begin)
            time.sleep(0.05)
            with contextlib.suppress(OSError):
                line.sendall(b"ET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert EICAR not in heard(line, 2), begin
        assert there.connections == 0, begin

    beginnings = (
        b"\r\nGET ",
        b"get ",
        b"G",
        b"\r\n\r\nGET ",
        b"PRI * HTTP/2.0\r\n\r\nGET ",
        b"GET\t",
        b"FOO ",
    )
    at_once(*(lambda begin=begin: one(begin) for begin in beginnings))


def test_another_name(stand):
    """TLS for a listed name inside a tunnel to a harmless address: the page behind it is not fetched."""
    before = len(stand.site.asked)
    for host in ("malware.secondlook.test", "127.0.0.1"):
        with (
            stand.tunnel(stand.site.tls.port) as line,
            contextlib.suppress(OSError),
            stand.trusting().wrap_socket(line, server_hostname="malware.secondlook.test") as tls,
        ):
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert b" 403 " in tls.recv(100)
    assert len(stand.site.asked) == before


def test_silent_handshakes(stand):
    """Five hundred clients that begin a handshake and say no more: others are served."""
    first = hello()[3]
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(stand.tunnel(stand.site.tls.port)) for _ in range(500)]
        for line in lines:
            line.sendall(first[:100])
        time.sleep(2)


def test_names_without_number(stand):
    """Three hundred handshakes, each for another name: a certificate is made for each, others are served."""

    def some(number: int) -> None:
        context = stand.trusting()
        context.check_hostname = False
        for count in range(38):
            with stand.tunnel(stand.site.tls.port) as line, contextlib.suppress(OSError):
                context.wrap_socket(line, server_hostname=f"n{number}-{count}.a.test").close()

    at_once(*(lambda n=n: some(n) for n in range(8)))


def test_records_of_a_byte(stand):
    """ClientHellos in records of one byte, a hundred times, and one of 60 kB: others are served."""
    body = hello()[3][5:]
    small = b"".join(b"\x16\x03\x01\0\1" + bytes([one]) for one in body)
    large = (
        b"\x16\x03\x01\x40\0\1\0\xea\x60" + bytes(0x4000 - 4) + (b"\x16\x03\x01\x40\0" + bytes(0x4000)) * 2
    )

    def one(data: bytes) -> None:
        with stand.tunnel(stand.site.tls.port) as line:
            with contextlib.suppress(OSError):
                line.sendall(data)
            heard(line, 0.5)

    for _ in range(5):
        at_once(*([lambda: one(small)] * 20), lambda: one(large))


def test_garbage(stand):
    """Two hundred tunnels with random records, alerts and halves of handshakes: others are served."""

    def one(number: int) -> None:
        kind = (b"\x16\x03\x01", b"\x15\x03\x03", b"\x17\x03\x03", b"\x16\x03\x03", b"\x80\x2e\x01")[
            number % 5
        ]
        with stand.tunnel(stand.site.tls.port) as line:
            with contextlib.suppress(OSError):
                line.sendall(kind + struct.pack("!H", 500) + os.urandom(500) * 4)
            heard(line, 0.3)

    for start in range(0, 200, 40):
        at_once(*(lambda n=n: one(n) for n in range(start, start + 40)))


@pytest.fixture(scope="module")
def large_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 3,000 names, 90 kB."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    names = x509.SubjectAlternativeName([x509.DNSName(f"{n}.very-long-name-{n}.test") for n in range(3000)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - dt.timedelta(1))
        .not_valid_after(now + dt.timedelta(9))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("large") / "large.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return file


def test_large_certificates(stand, large_certificate):
    """Thirty visits to sites whose certificate has 3,000 names: others are served."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(large_certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listening.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(peer, server_side=True) as tls:
                        tls.settimeout(2)
                        tls.recv(4096)
                        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

        threading.Thread(target=serve, daemon=True).start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        for _ in range(6):
            at_once(*([lambda: stand.curl(url, "-k", "-m", "10")] * 5))


def test_silent_site(stand, listen):
    """A hundred visits to a site that answers a handshake with nothing, junk or an endless record: others are served."""
    sites = [listen(b""), listen(b"\x16\x03\x03\xff\xff" + bytes(60_000)), listen(os.urandom(5000))]

    def visit(port: int) -> None:
        with stand.tunnel(port) as line, contextlib.suppress(OSError):
            line.settimeout(3)
            with stand.trusting().wrap_socket(line, server_hostname="127.0.0.1") as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                tls.recv(100)

    at_once(*(lambda port=site.port: visit(port) for site in sites for _ in range(33)))
