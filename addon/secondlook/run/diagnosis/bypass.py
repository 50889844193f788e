"""Browsers that go round the proxy: by QUIC, or by asking an encrypted name service of their own.

Linux shows the connections of all programs in `/proc/net` (proc(5)): a UDP socket that is connected to port
443 is QUIC, a TCP connection to a well-known public resolver on port 443 or 853 is DNS over HTTPS or TLS.
Everywhere the browsers' settings can be read: Firefox keeps `network.trr.mode` in `prefs.js` (2: first, 3:
only), Chromium `dns_over_https.mode` in `Local State` (`automatic`: the system's own resolver).
"""

import contextlib
import ipaddress
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from secondlook.ground.json_text import read_json
from secondlook.run.diagnosis.check_result import CheckResult

PROC: Final = Path("/proc")
_HTTPS: Final = 443
_DNS_OVER_TLS: Final = 853
_ESTABLISHED: Final = "01"
_LASTING_S: Final = 0.3
_INODE: Final = 9  # column of /proc/net/udp and tcp
# Public resolvers that browsers offer in their settings.
_RESOLVERS: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001",
            "8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844",
            "9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9",
            "94.140.14.14", "94.140.15.15", "45.90.28.0", "45.90.30.0", "208.67.222.222", "208.67.220.220",
        ),
    )
)  # fmt: skip
_QUIC_REMEDY: Final = (
    "block UDP port 443 at the firewall, or start the browser with --disable-quic (Firefox: "
    "network.http.http3.enable = false); with the proxy in its settings a browser uses no QUIC"
)
_DOH_REMEDY: Final = "switch secure DNS off in that browser, or let it use the system's proxy settings"
_TRR: Final = re.compile(r'^user_pref\("network\.trr\.mode",\s*([23])\)', re.MULTILINE)
_CHROMIUMS: Final = (
    ".config/chromium", ".config/google-chrome", ".config/microsoft-edge",
    ".config/BraveSoftware/Brave-Browser", "snap/chromium/common/chromium",
    "Library/Application Support/Google/Chrome", "Library/Application Support/Chromium",
    "AppData/Local/Google/Chrome/User Data",
)  # fmt: skip
_FIREFOXES: Final = (
    ".mozilla/firefox", "snap/firefox/common/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles", "AppData/Roaming/Mozilla/Firefox/Profiles",
)  # fmt: skip


def can_look() -> bool:
    """Whether this system shows its connections."""
    return (PROC / "net/tcp").exists()


def connections(*, ours: set[int], proc: Path = PROC, lasting_s: float = _LASTING_S) -> Iterator[CheckResult]:
    """Find connections of now that go round the proxy; `ours` are the processes that may have such.

    Only a socket that is still there after `lasting_s` seconds counts: to sort the addresses of a name,
    resolvers connect a UDP socket to each, with the port that was asked for, and close it at once
    (getaddrinfo(3), RFC 6724).
    """
    found = dict(_suspects(proc, ours))
    if not found:
        return
    time.sleep(lasting_s)
    for inode, _ in _suspects(proc, ours):
        if inode in found:
            yield found[inode]


def _suspects(proc: Path, ours: set[int]) -> Iterator[tuple[str, CheckResult]]:
    """Yield the inode of each socket that goes round the proxy, and what it is."""
    own = _sockets(proc, ours)
    for name in ("udp", "udp6", "tcp", "tcp6"):
        for state, address, port, inode in _table(proc / "net" / name):
            if inode in own or address.is_unspecified or address.is_loopback:
                continue
            if name.startswith("udp"):
                if port == _HTTPS:
                    text = f"{_program(proc, inode)} talks QUIC to {address} past the proxy"
                    yield inode, _way_round(text, _QUIC_REMEDY)
            elif state == _ESTABLISHED and port in (_HTTPS, _DNS_OVER_TLS) and address in _RESOLVERS:
                text = f"{_program(proc, inode)} asks {address} for names past the proxy (encrypted DNS)"
                yield inode, _way_round(text, _DOH_REMEDY)


def settings_of_browsers(home: Path) -> Iterator[CheckResult]:
    """Find browsers that are set to resolve names by a service of their own."""
    for folder in _FIREFOXES:
        for prefs in sorted((home / folder).glob("*/prefs.js")):
            with contextlib.suppress(OSError):
                if _TRR.search(prefs.read_text(encoding="utf-8", errors="replace")):
                    text = f"Firefox uses DNS over HTTPS of its own (network.trr.mode in {prefs})"
                    yield _way_round(text, _DOH_REMEDY)
    for folder in _CHROMIUMS:
        state = home / folder / "Local State"
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if read_json(state.read_bytes()).get("dns_over_https", {}).get("mode") == "secure":
                yield _way_round(f"Chromium uses DNS over HTTPS of its own ({state})", _DOH_REMEDY)


def _way_round(text: str, remedy: str) -> CheckResult:
    return CheckResult("bypass", "problem", text, remedy)


def _table(path: Path) -> Iterator[tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address, int, str]]:
    """Yield state, remote address, remote port and inode of each socket in a table of proc(5)."""
    with contextlib.suppress(OSError):
        for line in path.read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            raw, _, port = columns[2].partition(":")
            # The address is printed as words of 32 bits in the machine's order: little-endian.
            packed = b"".join(bytes.fromhex(raw[at : at + 8])[::-1] for at in range(0, len(raw), 8))
            address = ipaddress.ip_address(packed)
            if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            yield columns[3], address, int(port, 16), columns[_INODE]


def _sockets(proc: Path, processes: set[int]) -> set[str]:
    """Inodes of the sockets that these processes hold."""
    return {inode for process in processes for inode in _inodes(proc / str(process) / "fd")}


def _inodes(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                target = os.readlink(entry)  # noqa: PTH115 (no path: "socket:[4711]")
                if target.startswith("socket:["):
                    yield target[8:-1]


def _program(proc: Path, inode: str) -> str:
    """Name the program that holds a socket, where we may see it."""
    for folder in proc.glob("[0-9]*"):
        if inode in _inodes(folder / "fd"):
            with contextlib.suppress(OSError):
                return (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return "a program"
