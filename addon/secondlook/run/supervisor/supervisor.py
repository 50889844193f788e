"""The head of the family: starts, watches, replaces and drains its children. Standard library only.

```
service + workers started together ─► all ready ─► run.json, ready lines
      child ended unasked ─► started again, at once the first time, then with doubling delay
      child cannot be started for want of something ─► tried again likewise
      child hangs ─► killed (`heartbeat`), so that it ended
      SIGHUP ─► configuration read in a child ─► bad: the old stays; good: new ones, then the old ones drain
      SIGTERM, SIGINT ─► workers drain ─► service ends ─► run.json removed ─► exit 0
```

It holds the listening sockets, so no restart of a child ever closes a port. When all are to end it closes
those of traffic first: a load balancer that is refused asks another proxy.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from secondlook.ground.first_steps import FirstSteps
from secondlook.run.supervisor.child import FATAL_EXIT, Child, how_it_ended
from secondlook.run.supervisor.console import announce, report
from secondlook.run.supervisor.event_writer import EventWriter
from secondlook.run.supervisor.facts import facts_of, ready_lines, service_of
from secondlook.run.supervisor.heartbeat import Heartbeats
from secondlook.run.supervisor.listening import CannotListenError, Sockets, address_of
from secondlook.run.supervisor.plan import Plan, write_plan
from secondlook.run.supervisor.readiness import tell_systemd
from secondlook.run.supervisor.rereading import Rereading
from secondlook.run.supervisor.runfile import remove_run_file, write_run_file
from secondlook.setup.journal import is_trusted

DRAIN_S = 10.0
SERVICE_GRACE_S = 15.0
PATTERN_WAIT_S = 20.0  # for workers to take up the first generation, before we go on without
SOCKETS_OF = {"service": ("review", "server"), "worker": ("proxy",), "gate": ("gateway", "icap")}
ROLES = tuple(role for roles in SOCKETS_OF.values() for role in roles)  # of sockets
_TRIES_BEFORE_READY = 5
_TICK_S = 0.5


class Supervisor:
    """Starts, watches, replaces and drains the children of one plan."""

    def __init__(self, plan: Plan, sockets: Sockets) -> None:
        self.state = Path(plan.state)
        self._started_at = time.time()
        self.children: list[Child] = []
        self.announced = False
        self.draining = False
        self.exit_status = 0
        self._waiting_since: float | None = None
        self._unwritten: str | None = None  # why `run.json` is not up to date
        self._heartbeats = Heartbeats(time.monotonic())
        self._events = EventWriter()
        self._rereading = Rereading(self._events)
        self._signals: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._listened: dict[int, Child] = {}
        self._adopt(plan, sockets)

    def _adopt(self, plan: Plan, sockets: Sockets) -> None:
        """Work by a plan from now on. Raises OSError; nothing has changed then."""
        servers = sockets.of("server")
        adopted = replace(
            plan,
            proxy=next(map(address_of, sockets.of("proxy")), None),
            server=f"http://{address_of(servers[0])}" if servers else None,
            own_ports=tuple(
                sock.getsockname()[1] for role in ("review", "server") for sock in sockets.of(role)
            ),
            supervisor=os.getpid(),
            started_at=self._started_at,
            sockets={role: [sock.fileno() for sock in sockets.of(role)] for role in ROLES},
        )
        self._plan_descriptor = write_plan(adopted)
        self.plan, self.sockets = adopted, sockets

    def run(self) -> int:
        """Run until it is to stop; return the exit status."""
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
            self._kill_hung()
            self._reap()
            self._events.reap()
            self._finish_rereading()
            self._advance()
            if self._unwritten is not None:
                self._write_news()
        try:
            remove_run_file(self.state)
        except OSError as error:
            report(f"cannot set {self.state / 'run.json'} aside: {error.strerror}")
        self.sockets.unlink()
        return self.exit_status

    def _patience(self) -> float:
        now = time.monotonic()
        return max(0.0, min([_TICK_S, *(child.start_after - now for child in self._startable())]))

    def _startable(self) -> list[Child]:
        """Return the children that may be started once their time has come."""
        # two services never work on one state, and two workers never listen on one port
        alone = {"service"} if self.plan.endpoints.accepts else {"service", "worker"}
        serving = {child.role for child in self.children if child.alive} & alone
        return [
            child
            for child in self.children
            if not child.alive and not child.stopping and child.role not in serving
        ]

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._startable():
            if child.start_after <= now and not child.stopping:  # giving one up stops the others
                self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        inherited = [descriptor for role in SOCKETS_OF[child.role] for descriptor in self.plan.sockets[role]]
        try:
            child.start(self._plan_descriptor, inherited, now)
            assert child.pipe is not None
            self._selector.register(child.pipe, selectors.EVENT_READ)
        except OSError as error:  # no process, memory or descriptor is left: no reason to end the others
            child.undo_start()
            self._try_again(child, f"cannot be started ({error.strerror or error})", now)
        else:
            self._listened[child.pipe] = child

    def _hear(self, child: Child) -> None:
        pipe = child.pipe
        assert pipe is not None
        news = child.hear()
        if child.pipe is None:
            self._forget_pipe(pipe)
        if news:
            self._write_news()

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
            self._rereading.ask(self.plan.invocation)

    def _drain(self, exit_status: int) -> None:
        self.draining = True
        self.exit_status = exit_status
        tell_systemd("STOPPING=1", "STATUS=draining")
        self.sockets.refuse()
        now = time.monotonic()
        for child in self.children:
            if child.role != "service":
                child.stop(now, DRAIN_S + 2.0)

    def _reap(self) -> None:
        now = time.monotonic()
        for child in list(self.children):
            if child.kill_if_overdue(now):
                report(f"{child.name} did not end in time and was killed")
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
                self._try_again(child, how_it_ended(status), now)

    def _try_again(self, child: Child, how: str, now: float) -> None:
        delay = child.schedule(now)
        if not self.announced and child.failures >= _TRIES_BEFORE_READY:
            self._give_up(child, f"{how} {child.failures} times before it was ready")
        else:
            again = "at once" if delay == 0 else f"in {delay:.1f} s"
            report(f"{child.name} {how}; starting it again {again}")

    def _give_up(self, child: Child, why: str) -> None:
        if not self.draining:
            report(f"{child.name} {why}; stopping")
            child.stopping = True
            self.children.remove(child)
            self._drain(1)

    def _kill_hung(self) -> None:
        limit_s = self.plan.hung_after_s
        for child in self._heartbeats.silent(self.children, time.monotonic(), limit_s):
            child.kill_hung()
            self._heartbeats.note(child)
            self._write_news()
            what = f"{child.name} hung: its event loop stood still for {limit_s:g} s"
            report(f"{what}; it is killed")
            self._events.write(f"{what}; it was killed and is started again", self.plan.settings, child.name)

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

    def _end_replaced(self, now: float) -> None:
        ending = [child for child in self.children if child.replaced and not child.stopping]
        for child in ending:
            child.stop(now, DRAIN_S + 2.0)
        if ending and self.announced:
            self._write_run_file()

    def _facts(self) -> dict[str, Any]:
        return facts_of(self.plan, self.sockets, self.children, self._rereading, self._heartbeats)

    def _write_news(self) -> None:
        if not self.announced or self.draining:
            return  # the service may be gone already
        service = service_of(self.children)
        if service.ready or "token" in service.facts:  # else the old facts are no worse
            self._write_run_file()

    def _write_run_file(self) -> None:
        try:
            write_run_file(self.state, self._facts())
            self._unwritten = None
        except OSError as error:
            why, before = error.strerror or str(error), self._unwritten
            self._unwritten = why
            if why != before:  # it is tried again in each round
                report(f"cannot write {self.state / 'run.json'}: {why}")

    def _announce(self) -> None:
        facts = self._facts()
        pattern = service_of(self.children).facts.get("pattern_text")
        trusted, begun = is_trusted(self.state), FirstSteps(self.state).all_taken()
        announce(ready_lines(facts, self.plan.settings, pattern, trusted=trusted, begun=begun))
        tell_systemd("READY=1", f"STATUS=serving on {facts['proxy'] or facts['gateway']}")

    def _finish_rereading(self) -> None:
        if self.draining:
            return
        match self._rereading.outcome():
            case None:
                return
            case Plan() as plan:
                self._apply(replace(plan, commands=self.plan.commands))
            case why:
                self._refuse(why)
        if self._rereading.asked_meanwhile:
            self._rereading.ask(self.plan.invocation)
        else:
            tell_systemd("READY=1")
            if self.announced:
                self._write_run_file()

    def _refuse(self, why: str) -> None:
        self._rereading.refuse(why, self.plan.settings)

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
        try:
            self._adopt(plan, sockets)
        except OSError as error:
            sockets.close_all_but(before)
            self._refuse(f"it cannot be handed on to new processes: {error.strerror or error}")
            return
        os.close(old_plan)
        before.close_all_but(sockets)
        self.children = [child for child in self.children if child.alive]  # the others are not started again
        for child in self.children:
            child.replaced = True  # old workers end when the new ones are ready
            if child.role == "service":
                child.stop(time.monotonic(), SERVICE_GRACE_S)
            elif not self.plan.endpoints.accepts:
                child.stop(time.monotonic(), DRAIN_S + 2.0)
        self.children += children_of(plan)
        report("the configuration is read again")


def children_of(plan: Plan) -> list[Child]:
    """Return the children that a plan asks for."""
    workers = [Child("worker", index) for index in range(plan.workers)]
    return [Child("service", 0), *workers, *(Child("gate", index) for index in range(plan.gates))]
