"""A supervisor as a process of its own, with small children that do as they are ordered.

A child is this file's `CHILD` instead of Python: it reads, from a file named after it, what to do at each start.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from secondlook.run.supervisor.listening import Sockets, close_all
from secondlook.run.supervisor.plan import Endpoints, Invocation, Plan, write_plan
from secondlook.run.supervisor.runfile import read_run_file
from secondlook.run.supervisor.supervisor import Supervisor

CHILD = """#!{python} -IS
import json, os, select, signal, sys, time
orders = "{orders}"
module, arguments = sys.argv[3], sys.argv[4:]
def say(text):
    os.write(1, (text + "\\n").encode())
def order(name, default):
    path = os.path.join(orders, name)
    if not os.path.exists(path):
        return default
    with open(path) as file:
        first, *rest = file.read().split("\\n")
    with open(path, "w") as file:
        file.write("\\n".join(rest))
    return first or default
if module == "secondlook.run.reload":
    json.load(sys.stdin)
    with open(os.path.join(orders, "plan")) as file:
        text = file.read()
    sys.stdout.write(text)
    sys.exit(0 if text.startswith("{{") else 2)
if module == "secondlook.run.supervisor_event":
    say("reported " + json.load(sys.stdin)["detail"])
    sys.exit(0)
if module == "secondlook.run.authority":
    say("authority " + arguments[1])
    sys.exit(int(order("authority", "0")))
plan, writer, index, role = int(arguments[0]), int(arguments[1]), arguments[2], arguments[3]
facts = json.loads(os.pread(plan, os.fstat(plan).st_size, 0))
name = role if role == "service" else role + index
what = order(name, "ready")
about = " ".join([name, what, str(os.getpid()), str(facts["commands"])])
if what.isdigit():
    say(about)
    sys.exit(int(what))
def end(*_):
    say(name + " ends")
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if what == "deaf" else end)
os.write(writer, json.dumps({{"pattern": "7", "token": "t" + index}}).encode() + b"\\n")
say(about)  # first: what others do once all are ready is said after it
if what != "slow":
    os.write(writer, b'{{"ready": true}}\\n')
while what == "beats":
    os.write(writer, b"\\n")
    time.sleep(0.05)
supervisor = select.poll()
supervisor.register(writer, 0)
supervisor.poll()  # until nobody reads any more: it does not outlive a supervisor that broke
"""


DRIVER = """
import sys
from secondlook.run.supervisor import child, main, supervisor
child._FIRST_DELAY_S = 0.01
supervisor._TICK_S = 0.05
sys.executable = sys.argv.pop(1)
main.main()
"""


@contextmanager
def scarce(pid, kind, most):
    """Let a process have no more than `most` of a resource."""
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (most, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it ended of it, as it should
            resource.prlimit(pid, kind, before)


class Family:
    """A supervisor that runs, and what it and its children wrote so far."""

    def __init__(self, process, folder, state, plan):
        self.process, self.orders, self.state, self.plan = process, folder, state, plan
        self.lines = []

    def hear(self, beginning):
        """Give the next line that begins so; what comes before it is kept in `lines`."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return line.rstrip("\n")
        raise AssertionError(f"no line {beginning!r} after {self.lines}")

    def start(self):
        self.hear("pattern")
        return self

    def end(self, *signals):
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(60)

    def facts(self):
        return read_run_file(self.state)

    def facts_when(self, so):
        """Give the facts once they are so: the supervisor may not have heard or written it yet."""
        until = time.monotonic() + 60
        while not so(facts := self.facts()):
            assert time.monotonic() < until, facts
            time.sleep(0.02)
        return facts

    def short_of(self, kind, most):
        """Let the supervisor, and whom it starts meanwhile, have no more than `most` of a resource."""
        return scarce(self.process.pid, kind, most)


@pytest.fixture
def plan(tmp_path):
    state = tmp_path / "state"
    (state / "ca").mkdir(parents=True)
    return Plan(
        settings=json.dumps({"mode": "regular", "review": {}}),
        state=str(state),
        workers=2,
        endpoints=Endpoints(proxy=(("127.0.0.1", 0),), review=None, embedded=False),
        invocation=Invocation(config="proxy.yaml"),
        commands="some.module",
    )


@pytest.fixture
def supervisor(plan):
    """Give a supervisor in this process, for single steps of it."""
    made = Supervisor(plan, Sockets(plan))
    yield made
    made._selector.close()
    close_all(list(made.sockets.by_address.values()))
    os.close(made._plan_descriptor)


@pytest.fixture
def short_of():
    """Let this process have no more than so much of a resource."""
    return partial(scarce, os.getpid())


@pytest.fixture
def family(tmp_path, plan):
    orders = tmp_path / "orders"
    orders.mkdir()
    child = tmp_path / "child"
    child.write_text(CHILD.format(python=os.path.realpath(sys.executable), orders=orders))
    child.chmod(0o755)

    @contextmanager
    def run(plan=plan, **ordered):
        for name, what in ordered.items():
            (orders / name).write_text("\n".join(what))
        descriptor = write_plan(plan)
        command = [sys.executable, "-c", DRIVER, str(child), str(descriptor)]
        environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command,
            pass_fds=(descriptor,),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            os.close(descriptor)
            try:
                yield Family(process, orders, Path(plan.state), plan)
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    process.send_signal(signal.SIGTERM)
                    process.stdout.read()

    return run
