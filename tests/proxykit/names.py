"""A DNS server on UDP that says what a test wants, differently each time where it wants that."""

import ipaddress
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

A, AAAA = 1, 28

type Answer = Callable[[str, int, int], Sequence[str] | None]
"""What a name has: of (name, A or AAAA, how often that was asked before) its addresses; None: no answer."""


class NameServer:
    """Answers on a socket until it is closed; `asked` counts the questions by name and type."""

    def __init__(self, answer: Answer, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._answer = answer
        self.asked: Counter[tuple[str, int]] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(4096)
                reply = self._reply(question)
                if reply is not None:
                    self._socket.sendto(reply, client)
            except OSError:
                return

    def _reply(self, question: bytes) -> bytes | None:
        labels, at = [], 12
        while (length := question[at]) != 0:
            labels.append(question[at + 1 : at + 1 + length].decode())
            at += 1 + length
        kind = int.from_bytes(question[at + 1 : at + 3])
        name = ".".join(labels).lower()
        addresses = self._answer(name, kind, self.asked[name, kind])
        self.asked[name, kind] += 1
        if addresses is None:
            return None
        packed = [ipaddress.ip_address(address).packed for address in addresses]
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(address)) + address for address in packed
        )
        return (
            question[:2] + struct.pack(">5H", 0x8180, 1, len(packed), 0, 0) + question[12 : at + 5] + records
        )


@contextmanager
def name_server(answer: Answer, address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[NameServer]:
    """Run a name server."""
    server = NameServer(answer, address)
    try:
        yield server
    finally:
        server.close()
