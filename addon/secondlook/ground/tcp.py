"""Listening sockets."""

import socket
from collections.abc import Sequence
from typing import Final

BACKLOG: Final = 1024
SILENT_S: Final = 300
"""Silence after which a peer is asked whether it is still there, as one may leave without a word."""


def listen_on(
    host: str, port: int, *, accepts: bool = True, beside: Sequence[socket.socket] = ()
) -> socket.socket:
    """Open a TCP socket that listens on an address (port 0: any free one). Raises OSError.

    `host` is an address or a name, of which the first address counts. With `accepts` off the socket only
    keeps the port for whoever listens there.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _keep_alive(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for each in (*beside, sock) if beside else ():
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        if accepts:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        for each in beside:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    if beside:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    return sock


def _keep_alive(sock: socket.socket) -> None:
    """Have the system ask silent peers (RFC 1122, 4.2.3.6), also on what a listening socket accepts."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux and others; the default are two hours
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_S)
