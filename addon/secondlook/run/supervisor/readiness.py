"""Reporting to systemd how the proxy is doing (sd_notify(3)). Standard library only."""

import os
import socket


def tell_systemd(*lines: str) -> None:
    """Send state lines such as `READY=1` to the service manager, where one asked for them."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto("\n".join(lines).encode(), address)
    except OSError:
        return  # a service manager that went away must not stop the proxy
