"""Listening sockets, opened once by the supervisor and inherited by its children. Standard library only."""

import contextlib
import errno
import grp
import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence

from secondlook.core.url.address import with_port
from secondlook.ground.tcp import BACKLOG, listen_on
from secondlook.run.supervisor.plan import Plan

type Key = tuple[str, str, int]  # role, host (or path) and port of a socket

GATEWAY = "gateway"  # the role of the socket that lies in the file system
_OF_TRAFFIC = {"proxy", "icap"}
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104 (recognized, not bound)


class CannotListenError(Exception):
    """An address cannot be listened on; the message names it, the reason, and what to do."""


def listen(
    host: str,
    port: int,
    *,
    setting: str,
    option: str | None = None,
    accepts: bool = True,
    beside: Sequence[socket.socket] = (),
) -> socket.socket:
    """Open a TCP socket that listens on an address (port 0: any free one).

    `setting` names the key in proxy.yaml and `option` the command-line option that change the address.
    With `accepts` off it only keeps the port for whoever listens there. `beside` are sockets of before that
    may have the port too, until they are closed. Raises CannotListenError.
    """
    address = with_port(host, port)
    try:
        return listen_on(host, port, accepts=accepts, beside=beside)
    except socket.gaierror as error:
        raise CannotListenError(f"cannot listen on {address}: {error.strerror or error}") from error
    except OSError as error:
        elsewhere = (
            f"{option} or `{setting}` in the configuration" if option else f"`{setting}` in the configuration"
        )
        match error.errno:
            case errno.EADDRINUSE:
                reason = (
                    f"another program is using it; stop that one, or choose another address with {elsewhere}"
                )
            case errno.EADDRNOTAVAIL:
                reason = f"this machine does not have that address; choose another with {elsewhere}"
            case errno.EACCES | errno.EPERM:
                reason = f"not permitted (ports below 1024 need privileges); choose another with {elsewhere}"
            case _:
                reason = os.strerror(error.errno) if error.errno else str(error)
        raise CannotListenError(f"cannot listen on {address}: {reason}") from error


def listen_at(path: str) -> socket.socket:
    """Open a socket that listens at a path; one that nobody listens at any more is replaced.

    Nobody but its owner can connect before `open_to` lets others. Raises CannotListenError.
    """
    sock = None
    try:
        sock = socket.socket(socket.AF_UNIX)
        _clear(path)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
    except OSError as error:
        if sock is not None:
            sock.close()
        reason = error.strerror or str(error)
        if "too long" in reason:
            reason = f"the path has {len(os.fsencode(path))} bytes, and a socket's may have about 100"
        elif isinstance(error, FileNotFoundError):
            reason = f"there is no folder {os.path.dirname(path)}"  # noqa: PTH120 - pathlib is 4 ms of the start
        raise CannotListenError(
            f"cannot listen at {path}: {reason}; choose another place with `gateway.socket` in the "
            "configuration"
        ) from error
    return sock


def _clear(path: str) -> None:
    """Remove a socket that a killed process left behind. Raises OSError where somebody listens at it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is another file")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as knocking:
        try:
            knocking.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 - see above
            return
    raise OSError(errno.EADDRINUSE, "another program is using it")


def open_to(path: str, group: str | None) -> None:
    """Let the owner and a group connect to a socket. Raises CannotListenError."""
    try:
        if group is not None:
            os.chown(path, -1, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid)
        os.chmod(path, 0o660)  # noqa: PTH101 - see above
    except (KeyError, ValueError, OverflowError):
        raise CannotListenError(f"there is no group {group} (`gateway.group` in the configuration)") from None
    except OSError as error:
        raise CannotListenError(
            f"cannot open {path} to the group {group}: {error.strerror}; `gateway.group` in the "
            "configuration has to be one of the groups of who runs Second Look"
        ) from error


def inherited(descriptor: int) -> socket.socket:
    """Take over a listening socket that the supervisor passed on."""
    return socket.socket(fileno=descriptor)


def address_of(sock: socket.socket) -> str:
    """Return `host:port` of a listening socket, as it really is."""
    host, port = sock.getsockname()[:2]
    return with_port(host, port)


def visited(address: str) -> str:
    """Return the `host:port` at which this machine reaches what listens there."""
    host, _, port = address.rpartition(":")
    return f"{EVERYWHERE.get(host, host)}:{port}"


def own_address() -> str | None:
    """Return the address of this machine in its network, by its route outwards; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # of nobody (RFC 5737)
        except OSError:
            return None
        return str(sock.getsockname()[0])


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close sockets that are not needed after all."""
    for sock in sockets:
        sock.close()


class Sockets:
    """The listening sockets of one plan."""

    def __init__(self, plan: Plan, before: "Sockets | None" = None) -> None:
        """Open them, keeping those of `before` whose address is the same. Raises CannotListenError."""
        self.by_address: dict[Key, socket.socket] = {}
        known = before.by_address if before is not None else {}
        wanted = [("proxy", *address) for address in plan.endpoints.proxy]
        if plan.endpoints.review is not None:
            wanted.append(("review", *plan.endpoints.review))
        if plan.endpoints.embedded:
            wanted.append(("server", "127.0.0.1", 0))
        if plan.endpoints.icap is not None:
            wanted.append(("icap", *plan.endpoints.icap))
        settings = {
            "proxy": ("listen", "--listen"),
            "review": ("review.listen", "--review"),
            "server": ("servers", None),
            "icap": ("gateway.icap.listen", None),
        }
        opened: list[socket.socket] = []
        try:
            for key in wanted:
                role, host, port = key
                if key not in self.by_address:
                    sock = known.get(key)
                    accepts = role != "proxy" or plan.endpoints.accepts
                    if sock is None or accepts != sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        setting, option = settings[role]
                        sock = listen(
                            host,
                            port,
                            setting=setting,
                            option=option,
                            accepts=accepts,
                            beside=_given_up(known, wanted, key),
                        )
                        opened.append(sock)
                    self.by_address[key] = sock
            if plan.endpoints.gateway is not None:
                key = (GATEWAY, plan.endpoints.gateway, 0)
                sock = known.get(key)
                if sock is None:
                    sock = listen_at(plan.endpoints.gateway)
                    opened.append(sock)
                open_to(plan.endpoints.gateway, plan.endpoints.gateway_group)
                self.by_address[key] = sock
        except CannotListenError:
            close_all(opened)
            raise

    def of(self, role: str) -> list[socket.socket]:
        """Return the sockets of one role."""
        return [sock for (owner, _, _), sock in self.by_address.items() if owner == role]

    def close_all_but(self, kept: "Sockets") -> None:
        """Close those that a new plan no longer wants."""
        gone = {key: sock for key, sock in self.by_address.items() if sock not in kept.by_address.values()}
        close_all(list(gone.values()))
        _unlink(gone)

    def refuse(self) -> None:
        """Close those of traffic in this process; once the workers have too, who connects is refused."""
        for key in [key for key in self.by_address if key[0] in _OF_TRAFFIC]:
            self.by_address.pop(key).close()

    def unlink(self) -> None:
        """Take the names of sockets away that lie in the file system."""
        _unlink(self.by_address)


def _given_up(known: Mapping[Key, socket.socket], wanted: Sequence[Key], key: Key) -> list[socket.socket]:
    """Find sockets of the same role and port at addresses that go: from 127.0.0.1 to 0.0.0.0, or back.

    One that stays is in the way, as it will be at the next start.
    """
    role, _, port = key
    return [sock for at, sock in known.items() if (at[0], at[2]) == (role, port) and at not in wanted]


def _unlink(keys: Iterable[Key]) -> None:
    for role, path, _ in keys:
        if role == GATEWAY:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - pathlib is slow to import
