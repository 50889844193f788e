"""The head of the family: `python -m secondlook.run.supervisor.main PLAN`, no package but ours.

```
sockets opened ─► CA made ─► service + workers started together ─► all ready ─► run.json, ready lines
      child ended unasked ─► started again, at once the first time, then with doubling delay
      SIGHUP ─► configuration read in a child ─► bad: the old stays; good: new ones, then the old ones drain
      SIGTERM, SIGINT ─► workers drain ─► service ends ─► run.json removed ─► exit 0
```

It holds the listening sockets, so no restart of a child ever closes a port.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from secondlook.run.supervisor.authority_files import CERTIFICATES, whole
from secondlook.run.supervisor.child import FATAL_EXIT, Child, how_it_ended
from secondlook.run.supervisor.descriptors import MOST, raise_file_limit
from secondlook.run.supervisor.listening import CannotListenError, Sockets, address_of, visited
from secondlook.run.supervisor.plan import Plan, plan_from, read_plan, write_plan
from secondlook.run.supervisor.readiness import tell_systemd
from secondlook.run.supervisor.refused import report_refusal
from secondlook.run.supervisor.runfile import StateLock, remove_run_file, write_run_file
from secondlook.setup.journal import CERTIFICATE, Journal

DRAIN_S = 10.0
SERVICE_GRACE_S = 15.0
PATTERN_WAIT_S = 20.0  # for workers to take up the first generation, before we say so and go on
SOCKETS_OF = {"service": ("review", "server"), "worker": ("proxy",), "gate": ("gateway", "icap")}
ROLES = tuple(role for roles in SOCKETS_OF.values() for role in roles)  # of sockets
_TRIES_BEFORE_READY = 5
_TICK_S = 0.5


def say(message: str) -> None:
    """Report to the operator; an output that takes nothing (full disk, closed pipe) is no reason to end."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"secondlook: {message}\n")
        sys.stderr.flush()


class Supervisor:
    """Starts, watches, replaces and drains the children of one plan."""

    def __init__(self, plan: Plan, sockets: Sockets) -> None:
        self.state = Path(plan.state)
        self.started_at = time.time()
        self.children: list[Child] = []
        self.announced = False
        self.draining = False
        self.exit_status = 0
        self._waiting_since: float | None = None
        self._reloading: subprocess.Popen[bytes] | None = None
        self._readings = 0  # of the configuration, since the start
        self._refused: str | None = None  # why the last of them came to nothing
        self._changed_meanwhile = False  # a SIGHUP came while the file was being read
        self._teller: subprocess.Popen[bytes] | None = None  # of the last refusal
        self._signals: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._listened: dict[int, Child] = {}
        self._adopt(plan, sockets)

    def _adopt(self, plan: Plan, sockets: Sockets) -> None:
        self.sockets = sockets
        servers = sockets.of("server")
        self.plan = replace(
            plan,
            proxy=next(map(address_of, sockets.of("proxy")), None),
            server=f"http://{address_of(servers[0])}" if servers else None,
            own_ports=tuple(
                sock.getsockname()[1] for role in ("review", "server") for sock in sockets.of(role)
            ),
            supervisor=os.getpid(),
            started_at=self.started_at,
            sockets={role: [sock.fileno() for sock in sockets.of(role)] for role in ROLES},
        )
        self._plan_descriptor = write_plan(self.plan)

    def run(self) -> int:
        """Run until told to stop; the exit status."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda received, _frame: self._signals.append(received))
        self._selector.register(reader, selectors.EVENT_READ)
        self.children = children_of(self.plan)
        while self.children:
            self._start_due()
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is reader:
                    with contextlib.suppress(BlockingIOError):
                        reader.recv(4096)
                else:
                    self._hear(self._listened[key.fd])
            while self._signals:
                self._obey(self._signals.pop(0))
            self._reap()
            self._finish_reload()
            self._advance()
        remove_run_file(self.state)
        self.sockets.unlink()
        return self.exit_status

    def _patience(self) -> float:
        now = time.monotonic()
        due = [child.start_after - now for child in self.children if not child.alive and not child.stopping]
        return max(0.0, min([_TICK_S, *due]))

    def _start_due(self) -> None:
        now = time.monotonic()
        alone = {"service"} if self.plan.endpoints.accepts else {"service", "worker"}
        serving = {child.role for child in self.children if child.alive} & alone
        for child in self.children:
            if child.role in serving:
                continue  # two services never work on one state, and two workers never listen on one port
            if not child.alive and not child.stopping and child.start_after <= now:
                inherited = [
                    descriptor for role in SOCKETS_OF[child.role] for descriptor in self.plan.sockets[role]
                ]
                child.start(self._plan_descriptor, inherited, now)
                assert child.pipe is not None
                self._listened[child.pipe] = child
                self._selector.register(child.pipe, selectors.EVENT_READ)

    def _hear(self, child: Child) -> None:
        pipe = child.pipe
        assert pipe is not None
        said = child.hear()
        if child.pipe is None:
            self._forget_pipe(pipe)
        if said and self.announced:
            service = self._service()
            if (
                service.ready or "token" in service.facts
            ):  # until it started again, the old facts are no worse
                self._write_run_file()

    def _forget_pipe(self, pipe: int) -> None:
        self._selector.unregister(pipe)
        del self._listened[pipe]

    def _obey(self, number: int) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            if self.draining:
                for child in self.children:  # asked twice: now
                    if child.process is not None:
                        child.process.kill()
            else:
                self._drain(0)
        elif number == signal.SIGHUP and not self.draining:
            if self._reloading is None:
                self._read_again()
            else:
                self._changed_meanwhile = True

    def _read_again(self) -> None:
        self._changed_meanwhile = False
        tell_systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._plan_read = tempfile.TemporaryFile()  # noqa: SIM115 - read when the child ends; a pipe may be too short
        self._reloading = subprocess.Popen(
            [sys.executable, "-P", "-m", "secondlook.run.reload"],
            stdin=subprocess.PIPE,
            stdout=self._plan_read,
        )
        assert self._reloading.stdin is not None
        self._reloading.stdin.write(json.dumps(asdict(self.plan.invocation)).encode())
        self._reloading.stdin.close()

    def _drain(self, exit_status: int) -> None:
        self.draining = True
        self.exit_status = exit_status
        tell_systemd("STOPPING=1", "STATUS=draining")
        now = time.monotonic()
        for child in self.children:
            if child.role != "service":
                child.stop(now, DRAIN_S + 2.0)

    def _reap(self) -> None:
        now = time.monotonic()
        for child in list(self.children):
            if child.kill_if_overdue(now):
                say(f"{child.name} did not end in time and was killed")
            status = child.ended()
            if status is None:
                if child.stopping and not child.alive:
                    self.children.remove(child)
                continue
            if child.pipe is not None:
                pipe = child.pipe
                child.hear()
                child.close_pipe()
                self._forget_pipe(pipe)
            if child.stopping or child.replaced or self.draining:
                self.children.remove(child)
            elif status == FATAL_EXIT and not self.announced:
                self._give_up(child, "cannot start")
            else:
                delay = child.schedule(now)
                if not self.announced and child.failures >= _TRIES_BEFORE_READY:
                    self._give_up(child, f"{how_it_ended(status)} {child.failures} times before it was ready")
                else:
                    again = "at once" if delay == 0 else f"in {delay:.1f} s"
                    say(f"{child.name} {how_it_ended(status)}; starting it again {again}")

    def _give_up(self, child: Child, why: str) -> None:
        if not self.draining:
            say(f"{child.name} {why}; stopping")
            child.stopping = True
            self.children.remove(child)
            self._drain(1)

    def _advance(self) -> None:
        """Take the next step of starting, replacing and draining, where its condition has come."""
        now = time.monotonic()
        workers = [child for child in self.children if child.role != "service"]
        if self.draining:
            if not workers:
                for child in self.children:
                    child.stop(now, SERVICE_GRACE_S)
            return
        current = [child for child in workers if not child.stopping and not child.replaced]
        service = next(
            (child for child in self.children if child.role == "service" and not child.stopping), None
        )
        if service is None:
            self.children.insert(0, Child("service", 0))
            return
        if not service.ready or not all(child.ready for child in current):
            return
        self._end_replaced(now)
        if self._waiting_since is None:
            self._waiting_since = now
        generation = service.facts.get("pattern")
        behind = [child for child in current if child.facts.get("pattern") != generation]
        if behind and not self.announced and now - self._waiting_since < PATTERN_WAIT_S:
            return
        if not self.announced:
            self.announced = True
            self._write_run_file()
            self._announce()
            facts = self._facts()
            tell_systemd("READY=1", f"STATUS=serving on {facts['proxy'] or facts['gateway']}")

    def _end_replaced(self, now: float) -> None:
        ending = [child for child in self.children if child.replaced and not child.stopping]
        for child in ending:
            child.stop(now, DRAIN_S + 2.0)
        if ending and self.announced:
            self._write_run_file()

    def _service(self) -> Child:
        return next(child for child in reversed(self.children) if child.role == "service")

    def _facts(self) -> dict[str, Any]:
        service = self._service()
        told = service.facts
        proxies = [address_of(sock) for sock in self.sockets.of("proxy")]
        reviews = [address_of(sock) for sock in self.sockets.of("review")]
        servers = [address_of(sock) for sock in self.sockets.of("server")]
        return {
            "pid": os.getpid(),
            "proxy": proxies[0] if proxies else None,
            "listen": proxies,
            "review": reviews[0] if reviews else None,
            "token": told.get("token"),
            "server": f"http://{servers[0]}" if servers else None,
            "gateway": self.plan.endpoints.gateway,
            "icap": next(map(address_of, self.sockets.of("icap")), None),
            "pattern": told.get("pattern"),
            "mode": json.loads(self.plan.settings)["mode"],
            "invocation": asdict(self.plan.invocation),
            "settings": {
                "file": self.plan.settings_file,
                "readings": self._readings,
                "reading": self._reloading is not None,
                "refused": self._refused,
                "in_force": not any(child.replaced and not child.stopping for child in self.children),
            },
            "started_at": self.started_at,
            "service": service.process.pid if service.process is not None else None,
            "workers": self._processes("worker"),
            "gates": self._processes("gate"),
        }

    def _processes(self, role: str) -> list[int]:
        return [
            child.process.pid
            for child in self.children
            if child.role == role and child.process is not None and not child.replaced
        ]

    def _write_run_file(self) -> None:
        try:
            write_run_file(self.state, self._facts())
        except OSError as error:
            say(f"cannot write {self.state / 'run.json'}: {error.strerror}")

    def _announce(self) -> None:
        facts = self._facts()
        service = self._service()
        workers = f", workers {len(facts['workers'])}" if facts["listen"] else ""
        lines = [f"proxy    {'  '.join(facts['listen']) or 'off'}  (mode {facts['mode']}{workers})"]
        if facts["gateway"]:
            icap = f"  icap {facts['icap']}" if facts["icap"] else ""
            lines.append(f"gateway  {facts['gateway']}{icap}  (workers {len(facts['gates'])})")
        if facts["review"]:
            scheme = "https" if json.loads(self.plan.settings)["review"].get("tls") else "http"
            token = f"/?token={facts['token']}" if facts["token"] else "/"
            lines.append(f"review   {scheme}://{visited(facts['review'])}{token}")
        else:
            lines.append("review   off")
        lines.append(f"server   {facts['server'] or 'none embedded'}")
        lines.append(f"pattern  {service.facts.get('pattern_told') or 'none yet'}")
        if facts["listen"] and not Journal(self.state).has(CERTIFICATE):
            lines.append("hint     browsers do not trust this proxy's certificates yet: secondlook setup ca")
        with contextlib.suppress(OSError):
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()

    def _finish_reload(self) -> None:
        if self._teller is not None and self._teller.poll() is not None:
            self._teller = None
        if self._reloading is None or self._reloading.poll() is None:
            return
        reload, self._reloading = self._reloading, None
        with self._plan_read as output:
            output.seek(0)
            told = output.read()
        self._readings += 1
        self._refused = None
        if reload.returncode == 0:
            self._apply(replace(plan_from(json.loads(told)), commands=self.plan.commands))
        else:
            self._refuse(told.decode(errors="replace") or how_it_ended(reload.returncode))
        if self._changed_meanwhile and not self.draining:
            self._read_again()
        else:
            tell_systemd("READY=1")
            if self.announced:
                self._write_run_file()

    def _refuse(self, why: str) -> None:
        self._refused = why
        say(f"the new configuration is refused: {why}; the old one stays in force")
        self._teller = report_refusal(self.plan.settings, why)

    def _apply(self, plan: Plan) -> None:
        if plan.state != self.plan.state:
            self._refuse("`state` cannot change while running")
            return
        try:
            sockets = Sockets(plan, self.sockets)
        except CannotListenError as error:
            self._refuse(str(error))
            return
        before, old_plan = self.sockets, self._plan_descriptor
        self._adopt(plan, sockets)
        os.close(old_plan)
        before.close_all_but(sockets)
        for child in self.children:
            child.replaced = True  # old workers end when the new ones are ready
            if child.role == "service":
                child.stop(time.monotonic(), SERVICE_GRACE_S)
            elif not self.plan.endpoints.accepts:
                child.stop(time.monotonic(), DRAIN_S + 2.0)
        self.children += children_of(plan)
        say("the configuration is read again")


def children_of(plan: Plan) -> list[Child]:
    """Return the children that a plan asks for."""
    workers = [Child("worker", index) for index in range(plan.workers)]
    return [Child("service", 0), *workers, *(Child("gate", index) for index in range(plan.gates))]


def make_authority(state: Path, kind: str) -> bool:
    """Make the CA where there is none yet, or not all of it, before workers would each make one."""
    if all(whole(state / "ca", name) for name in CERTIFICATES):
        return True
    command = [sys.executable, "-P", "-m", "secondlook.run.authority", str(state / "ca"), kind]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - our own module


def prepare_metrics(folder: Path) -> None:
    """Empty the folder where all processes keep their counters, and tell them of it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def main() -> None:
    """Supervise the plan whose descriptor is the first argument."""
    plan = read_plan(int(sys.argv[1]))
    os.close(int(sys.argv[1]))
    state = Path(plan.state)
    raise_file_limit(MOST)
    try:
        lock = StateLock(state)
    except BlockingIOError:
        say(f"another Second Look runs on {state}; stop it, or give this one its own folder with --state")
        sys.exit(1)
    except OSError as error:
        say(f"cannot use the state folder {state}: {error.strerror}; choose another with --state")
        sys.exit(1)
    try:
        sockets = Sockets(plan)
    except CannotListenError as error:
        say(str(error))
        sys.exit(1)
    prepare_metrics(state / "metrics")
    if not make_authority(state, plan.authority):
        say(f"cannot make the certificate authority in {state / 'ca'}")
        sys.exit(1)
    status = Supervisor(plan, sockets).run()
    lock.release()
    sys.exit(status)


if __name__ == "__main__":
    main()
