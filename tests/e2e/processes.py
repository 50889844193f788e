"""Real processes for end-to-end tests: the proxy, Smart Protection Servers, origins that count, clients.

Every port is chosen by the operating system, everything listens on loopback, and everything started is
stopped by the test that started it.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e import prepared
from e2e.asking import answered_by

BIN = Path(sys.executable).parent
SECONDLOOK = [sys.executable, "-m", "secondlook"]
PATIENCE_S = 60.0  # a wait that succeeds costs nothing, however long it may last
START_S = 120.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = (
    0.05,
    0.25,
)  # between two looks: most are processes, and what is awaited works
LOG_GROUP_S = 0.15  # workers write events in groups, within a tenth of a second
LOG_LOOKS = 10  # under traffic the log never stands still


def wait_for[T](look: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S) -> T:
    """Look again until something is there; fail with `what` when it does not come.

    What is looked for stays once it has come: of two things that pass, one look might meet neither.
    """
    end, pause_s = time.monotonic() + timeout_s, FIRST_PAUSE_S
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, LONGEST_PAUSE_S)


def command(*arguments: str | Path, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a `secondlook` command to its end."""
    done = prepared.run([*SECONDLOOK, *map(str, arguments)], timeout=120, **options)
    if check:
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done


def json_lines(*arguments: str | Path, **options: Any) -> list[dict[str, Any]]:
    """Run a command with `--json` and give its objects."""
    return [json.loads(line) for line in command(*arguments, "--json", **options).stdout.splitlines()]


class Running:
    """A process of ours with its output in a file."""

    def __init__(self, arguments: list[str], log: Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = prepared.Prepared(arguments, stdout=out, stderr=subprocess.STDOUT, **options)

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def stop(self, timeout_s: float = PATIENCE_S) -> int:
        """Ask it to end and give its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end in {timeout_s:g} s: {self.output}") from None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()


class Memory:
    """The memory of a process, as the kernel counts it: no peak is missed between two looks."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)
        (self._folder / "clear_refs").write_text("5")  # the peak begins anew
        self._before = self._read("VmRSS")

    def grown(self) -> int:
        """By how many bytes it was larger than at the beginning, at most."""
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        (line,) = [each for each in lines if each.startswith(f"{name}:")]
        return int(line.split()[1]) * 1024


class Proxy(Running):
    """`secondlook run` on a state folder."""

    program = SECONDLOOK

    def __init__(
        self, state: Path, config: Path, *arguments: str, listen: str = "127.0.0.1:0", **options: Any
    ) -> None:
        self.state = state
        self.config = config
        run_file = state / "run.json"
        state.mkdir(parents=True, exist_ok=True)
        super().__init__(
            [
                *self.program, "run", "-c", str(config), "--state", str(state), "--listen", listen,
                "--review", "127.0.0.1:0", *arguments,
            ],
            state.parent / f"{state.name}.log",
            **options,
        )  # fmt: skip

        def ready() -> dict[str, Any] | None:
            assert self.process.poll() is None, f"the proxy ended at its start: {self.output}"
            try:
                facts: dict[str, Any] = json.loads(run_file.read_text())
            except (OSError, ValueError):
                return None
            return facts if facts["pid"] == self.process.pid else None

        self.facts = wait_for(ready, f"run.json ({self.log})", START_S)

    def fresh_facts(self) -> dict[str, Any]:
        """Read run.json again."""
        facts: dict[str, Any] = json.loads((self.state / "run.json").read_text())
        return facts

    @property
    def address(self) -> str:
        """`host:port` of the proxy."""
        return str(self.facts["proxy"])

    @property
    def port(self) -> int:
        """The port of the proxy."""
        return port_of(self.address)

    @property
    def review_port(self) -> int:
        """The port of the review page."""
        return port_of(self.facts["review"])

    @property
    def url(self) -> str:
        """The proxy as clients are told it."""
        return f"http://{self.address}"

    @property
    def ca(self) -> Path:
        """The certificate of its authority."""
        return self.state / "ca" / "mitmproxy-ca-cert.pem"

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on its state."""
        return command(*arguments, "-c", self.config, "--state", self.state, check=check)

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with `--json` on its state; of the log, what workers write a moment later too.

        That is for what is expected not to come: what is to come is waited for (`json_when`).
        """
        began = time.monotonic()
        found = self._objects(*arguments)
        for _ in range(LOG_LOOKS if arguments[0] == "log" else 0):
            # a machine that is slow in this is slow in all
            time.sleep(max(LOG_GROUP_S, time.monotonic() - began))
            began, before = time.monotonic(), found
            found = self._objects(*arguments)
            if found == before:
                break
        return found

    def json_when(
        self, right: Callable[[list[dict[str, Any]]], object], *arguments: str
    ) -> list[dict[str, Any]]:
        """Run a command with `--json` again until what it gives is right: log, queue and counts follow behind."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = self._objects(*arguments)
            return bool(right(found))

        try:
            wait_for(look, f"what `{' '.join(arguments)}` is to give")
        except AssertionError as error:
            raise AssertionError(f"{error}, last {found}") from None
        return found

    def _objects(self, *arguments: str) -> list[dict[str, Any]]:
        printed = answered_by(self.state, (*arguments, "--json"))
        if printed is None:
            printed = self.command(*arguments, "--json").stdout
        return [json.loads(line) for line in printed.splitlines()]

    def curl(self, url: str, *arguments: str) -> "Answer":
        """Fetch a URL with curl through the proxy, trusting its authority."""
        return curl(url, "-x", self.url, "--cacert", str(self.ca), *arguments)

    def metrics(self) -> dict[str, float]:
        """Give all samples of /metrics by name and labels, such as `name{label="value"}`."""
        facts = self.fresh_facts()
        answer = curl(f"http://{facts['review']}/metrics", "-H", f"Authorization: Bearer {facts['token']}")
        assert answer.status == 200, answer
        samples = {}
        for line in answer.body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def each_worker[T](self, ask: Callable[[], T]) -> set[T]:
        """Ask every worker alone: the others are stopped meanwhile, and only who runs accepts."""
        workers = self.fresh_facts()["workers"]
        answers = set()
        for worker in workers:
            others = [pid for pid in workers if pid != worker]
            for pid in others:
                os.kill(pid, signal.SIGSTOP)
            try:
                answers.add(ask())
            finally:
                for pid in others:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
        return answers

    def kill_family(self) -> None:
        """Kill the supervisor; its children die with it."""
        facts = self.fresh_facts()
        self.kill()
        family = [facts["service"], *facts["workers"]]
        wait_for(lambda: not any(lives(pid) for pid in family), "the children's end")


def port_of(address: str) -> int:
    """Return the port of `host:port`, or of a URL that ends in it."""
    return int(address.rpartition(":")[2])


def lives(pid: int) -> bool:
    """Return whether a process runs: one that ended and was not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Answer:
    """What curl saw."""

    status: int
    exit: int
    body: bytes
    headers: dict[str, str]
    error: str
    took_s: float


def curl(url: str, *arguments: str) -> Answer:
    """Fetch a URL with curl; status 0 when no answer came."""
    started = time.monotonic()
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "60", "-D", "/dev/stderr", *arguments, url],
        capture_output=True,
        timeout=120,
        check=False,
        env={key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
    )
    took = time.monotonic() - started
    head = done.stderr.decode("latin-1")
    status, headers = 0, {}
    for block in head.split("\r\n\r\n"):
        lines = block.strip().splitlines()
        if lines and lines[0].startswith("HTTP/") and "200 Connection established" not in lines[0]:
            status = int(lines[0].split()[1])
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:])
            }
    return Answer(status, done.returncode, done.stdout, headers, head, took)


class Server(Running):
    """`secondlook server run` on a state folder."""

    def __init__(self, state: Path, *arguments: str, port: int = 0, address: str = "127.0.0.1") -> None:
        self.state = state
        super().__init__(
            [
                *SECONDLOOK,
                "server",
                "run",
                "--state",
                str(state),
                "--listen",
                f"{address}:{port}",
                *arguments,
            ],
            state.parent / f"{state.name}.log",
        )

        def ready() -> str | None:
            assert self.process.poll() is None, f"the server ended at its start: {self.output}"
            lines = self.output.splitlines()
            told = [line for line in lines if line.startswith("server ")]
            return (
                told[-1].split()[1] if told and any(line.startswith("serving ") for line in lines) else None
            )

        self.url = wait_for(ready, f"the server's address ({self.log})", START_S)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return port_of(self.url)


def server_import(state: Path, list_name: str, *files: Path) -> list[dict[str, Any]]:
    """Import files into a server's state."""
    return json_lines("server", "import", *files, "--state", state, "--list", list_name)


def server_publish(state: Path) -> dict[str, Any]:
    """Publish what a server's state holds."""
    (report,) = json_lines("server", "publish", "--state", state)
    return report


def make_certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """Make a self-signed certificate with openssl."""
    certificate, key = folder / "origin.pem", folder / "origin.key"
    alternatives = ",".join(f"IP:{name}" if name[0].isdigit() else f"DNS:{name}" for name in names)
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={alternatives}",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


def needs(program: str) -> str:
    """Give a program's path; without it the test is skipped, but never on CI."""
    import pytest

    found = shutil.which(program)
    if found is None:
        assert not os.environ.get("CI"), f"{program} is missing"
        pytest.skip(f"{program} is missing")
    return found
