"""Networks made of Linux network namespaces (ip-netns(8)); for root only."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def namespaces(*names: str) -> Iterator[tuple[str, ...]]:
    """Make network namespaces with loopback up; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    full = tuple(f"secondlook-{os.getpid()}-{name}" for name in names)
    made = []
    try:
        for name in full:
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        yield full
    finally:
        for name in made:
            ip("netns", "delete", name)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Put this thread into a namespace; what it starts meanwhile lives there."""
    with Path("/proc/thread-self/ns/net").open("rb") as home, (Path("/run/netns") / name).open("rb") as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(home.fileno(), os.CLONE_NEWNET)


def cable(one: str, one_address: str, other: str, other_address: str, device: str) -> None:
    """Connect two namespaces; the device has the same name at both ends."""
    ip("link", "add", device, "netns", one, "type", "veth", "peer", "name", device, "netns", other)
    for name, address in ((one, one_address), (other, other_address)):
        ip("-n", name, "addr", "add", address, "dev", device)
        ip("-n", name, "link", "set", device, "up")


@contextlib.contextmanager
def resolving_at(server: str, folder: Path) -> Iterator[None]:
    """Let what this thread starts meanwhile ask a name server of ours; its mounts are its own."""
    configuration = folder / "resolv.conf"
    configuration.write_text(f"nameserver {server}\n")
    here = Path.cwd()
    with Path("/proc/thread-self/ns/mnt").open("rb") as home:
        os.unshare(os.CLONE_NEWNS)
        try:
            for mount in (("--make-rprivate", "/"), ("--bind", str(configuration), "/etc/resolv.conf")):
                subprocess.run(["mount", *mount], check=True, capture_output=True)
            yield
        finally:
            os.setns(home.fileno(), os.CLONE_NEWNS)
            os.chdir(here)
