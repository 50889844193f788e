"""What an installation from the wheel takes: seconds, megabytes, time to the first block, memory at rest.

Run: `python bench/install.py [WHERE …]` after `make dist`; prints one JSON object for each. WHERE is a
release of Debian (`bookworm`, `trixie`, `forky`), of which a bare root is made by mmdebstrap (as root), or
the path of a Python, which gets an environment of its own. A root whose own Python is too old is lent the
one that runs this. Packages come from where pip and apt take them. CI runs it too: what does not block is a
failure. A root that cannot be made here, or reaches no packages, is reported and no failure: it says nothing
of the program.
"""

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
START_S = 120
BLOCKED = 10  # how `check` ends for what is blocked
# What is in a root beside the least of Debian, and its Python (None: its own is too old)
ROOTS = {
    "bookworm": ("libssl3,libffi8,libsqlite3-0,libbz2-1.0,liblzma5,zlib1g,libreadline8", None),
    "trixie": ("python3-venv", "python3"),
    "forky": ("python3.14-venv", "python3.14"),
}
MOVING = {"forky"}  # Debian's next release
TESTING = """Acquire::Check-Valid-Until "false";"""  # an archive that a mirror keeps may be weeks old


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is installed: how a command is started there, where its files are, its home, its Python."""

    prefix: tuple[str, ...]
    root: Path
    home: str
    python: str
    venv: str

    def environ(self) -> dict[str, str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"HOME": self.home, "PATH": path, "LC_ALL": "C.UTF-8", "PIP_CERT": f"{self.home}/ca.pem"}

    def reaches_packages(self) -> bool:
        """Return whether pip can fetch a small package."""
        words = ("-m", "pip", "download", "--quiet", "--no-deps", "-d", "/tmp", "h11")
        command = [*self.prefix, f"{self.venv}/bin/python", *words]
        return subprocess.run(command, env=self.environ(), check=False).returncode == 0

    def outside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def run(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [*self.prefix, *words],
            cwd=self.outside(self.home),  # no configuration lies there
            env=self.environ(),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != status:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}")
        return done.stdout


class NoRootError(Exception):
    """A root cannot be made here, or nothing can be fetched in it; the message says which step failed."""


def prepare(*command: str | Path) -> None:
    """Run a step that only this machine and its mirrors can fail."""
    if subprocess.run(command, check=False).returncode:
        raise NoRootError(f"{command[0]} failed")


def bare(suite: str, into: Path, *options: str) -> None:
    """Make the least of Debian, as a folder or an archive."""
    moving = [f"--aptopt={TESTING}"] if suite in MOVING else []
    prepare("mmdebstrap", "--quiet", "--variant=minbase", *moving, *options, suite, into)


@contextmanager
def debian(suite: str, folder: Path) -> Iterator[Place]:
    """Make a bare root, with `/proc` while it is used."""
    packages, python = ROOTS[suite]
    root = folder / "root"
    bare(suite, root, f"--include=ca-certificates,{packages}")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    if python is None:
        lent = root / sys.base_prefix.lstrip("/")
        shutil.copytree(sys.base_prefix, lent, symlinks=True, ignore=shutil.ignore_patterns("site-packages"))
        python = f"{sys.base_prefix}/bin/python3"
    prepare("mount", "--bind", "/proc", root / "proc")
    try:
        yield Place(("chroot", str(root)), root, "/root", python, "/opt/secondlook")
    finally:
        subprocess.run(["umount", root / "proc"], check=True)


@contextmanager
def alone(python: str, folder: Path) -> Iterator[Place]:
    """Take a Python of this machine, with a home of its own."""
    (folder / "home").mkdir()
    yield Place((), Path("/"), str(folder / "home"), python, str(folder / "venv"))


def trusted() -> Path:
    """Return the file of authorities that this machine's pip trusts."""
    return Path(os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt")


def newest_wheel() -> Path:
    """Return the wheel that `make dist` built."""
    wheels = sorted((HERE.parent / "dist").glob("secondlook-*.whl"), key=lambda each: each.stat().st_mtime)
    if not wheels:
        raise SystemExit("there is no wheel in dist/: `make dist` builds it")
    return wheels[-1]


def mebibytes(folder: Path) -> int:
    done = subprocess.run(["du", "-sm", folder], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[0])


def ask(address: str, url: str = "http://malware.secondlook.test/") -> int:
    """Ask a proxy for a page, by default one on its shipped list; return the status."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", url)
        return connection.getresponse().status
    finally:
        connection.close()


def weighed(facts: dict[str, object], pid: int) -> dict[str, float]:
    """MiB that each process has for itself: supervisor, service and one worker of the mean."""
    own = {
        each.pid: each.memory_full_info().uss / MIB for each in psutil.Process(pid).children(recursive=True)
    }
    workers = [own[each] for each in facts["workers"] if each in own]
    return {
        "service_mib": round(own[facts["service"]], 1),
        "worker_mib": round(sum(workers) / len(workers), 1),
        "all_mib": round(sum(own.values()) + psutil.Process(pid).memory_full_info().uss / MIB, 1),
    }


def tried(place: Place, wheel: Path) -> dict[str, object]:
    """Install, start, be refused a page, check another, stop."""
    began = time.monotonic()
    shutil.copy(wheel, place.outside(place.home))
    shutil.copy(trusted(), place.outside(place.home) / "ca.pem")
    place.run(place.python, "-m", "venv", place.venv)
    pip = ("-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check")
    if place.prefix and not place.reaches_packages():
        raise NoRootError("pip reaches no packages")
    place.run(f"{place.venv}/bin/python", *pip, f"{place.home}/{wheel.name}")
    installed_s = time.monotonic() - began
    program = f"{place.venv}/bin/secondlook"
    version = place.run(f"{place.venv}/bin/python", "-c", "import platform; print(platform.python_version())")
    words = [program, "run", "--listen", "127.0.0.1:0", "--review", "127.0.0.1:0", "--set", "feeds=[]"]
    began = time.monotonic()
    home = place.outside(place.home)
    process = subprocess.Popen(
        [*place.prefix, *words], cwd=home, env=place.environ(), stdout=subprocess.DEVNULL
    )
    try:
        path = home / ".local/state/secondlook/run.json"
        while not path.exists() and process.poll() is None and time.monotonic() - began < START_S:
            time.sleep(0.02)
        facts = json.loads(path.read_text())
        ready_s = time.monotonic() - began
        while (status := ask(facts["proxy"])) != 403:
            if time.monotonic() - began > START_S:
                raise SystemExit(f"a listed page is answered with {status}")
            time.sleep(0.05)
        block_s = time.monotonic() - began
        weights = weighed(facts, process.pid)
        place.run(program, "check", "http://phishing.secondlook.test/login", status=BLOCKED)
    finally:
        process.terminate()
        if process.wait(60):
            raise SystemExit(f"it ended with {process.returncode}")
    return {
        "python": version.strip(),
        "installed_s": round(installed_s),
        "installed_mib": mebibytes(place.outside(place.venv)),
        "ready_s": round(ready_s, 1),
        "first_block_s": round(block_s, 1),
        **weights,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("where", nargs="*", default=["bookworm", "trixie", "forky"])
    given = parser.parse_args()
    wheel = newest_wheel()
    for where in given.where:
        with tempfile.TemporaryDirectory(prefix="secondlook-install-") as name:
            try:
                place = debian(where, Path(name)) if where in ROOTS else alone(where, Path(name))
                with place as each:
                    row = {
                        "bench": "install",
                        "where": where if where in ROOTS else "-",
                        **tried(each, wheel),
                    }
                    print(json.dumps(row), flush=True)
            except NoRootError as error:
                print(f"NOT TRIED in a root of {where}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
