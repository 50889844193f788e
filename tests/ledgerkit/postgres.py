"""A real PostgreSQL server for tests: its own data folder, a unix socket, no port, an unprivileged user."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

import psycopg


def find_binaries() -> Path | None:
    """Folder with `postgres` and `initdb`: on PATH, else the newest of Debian's versions."""
    found = shutil.which("postgres")
    if found and shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return folders[-1] if folders else None


# The machine itself does not crash: what a server wrote that is killed is there. Databases are made for each test,
# and each would be looked through again and again.
ONLY_FOR_TESTS = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off")


class _Account(TypedDict, total=False):
    """Whom a process runs as; empty: as we do."""

    user: int
    group: int
    extra_groups: list[int]


class PostgresServer:
    """Started by `start`, stopped by `stop`; `database()` makes a fresh one and gives its URL."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="slpg"))
        self._account: _Account = {}
        name = pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:  # the server refuses to run as root
            name = "postgres"
            entry = pwd.getpwnam(name)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [binaries / "initdb", "--no-sync", "-A", "trust", "-U", "tester", "-D", self.folder / "data"],
            check=True,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            cwd=self.folder,
            **self._account,
        )

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                self._binaries / "postgres",
                "-D",
                self.folder / "data",
                "-k",
                self.folder,
                "-c",
                "listen_addresses=",
                "-c",
                "max_connections=80",
                *ONLY_FOR_TESTS,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            **self._account,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast shutdown; SIGQUIT: at once, as in a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def url(self, database: str) -> str:
        return f"postgresql://tester@/{database}?host={self.folder}"

    def database(self, like: str = "template0") -> str:
        """A fresh one, with what is in the database of that name."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {like}")
        return self.url(name)

    def hang_up(self, url: str) -> None:
        """End every connection to a database."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            ended = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(ended, [self.name_of(url)])

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it neither answer nor end, as a machine whose disk is gone."""
        assert self._process is not None
        server = self._process.pid
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        processes = [server, *map(int, children)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def fail_over(self, url: str, standby: str) -> None:
        """Have another database take the place of one, whose connections end."""
        name, other = self.name_of(url), self.name_of(standby)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            self.hang_up(url)
            connection.execute(f"ALTER DATABASE {name} RENAME TO {name}_gone")
            connection.execute(f"ALTER DATABASE {other} RENAME TO {name}")

    def name_of(self, url: str) -> str:
        return url.removeprefix("postgresql://tester@/").partition("?")[0]

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
