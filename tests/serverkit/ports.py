"""Ports that are chosen before the program starts that listens on them."""

import atexit
import socket


def free_port(bus: int = 0) -> int:
    """Give a port that nobody listens on, and that nobody else gets while this process lives.

    A socket that is bound and does not listen keeps it: the system gives it to none who asks for any port and
    to no client's connection, but a server may listen there, as all of them set SO_REUSEADDR, and come again.
    With `bus`, the port that lies so much higher is kept as well.
    """
    for _ in range(100):
        port = _keep(0)
        assert port is not None
        if not bus or (port + bus < 1 << 16 and _keep(port + bus) is not None):
            return port
    raise AssertionError("no free port")


def _keep(port: int) -> int | None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        return None
    atexit.register(sock.close)
    found: int = sock.getsockname()[1]
    return found
