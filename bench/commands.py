"""Processor time and imported modules of commands, and of the family of processes until it is ready (P18).

`python bench/commands.py [--rounds N]`. Seconds are user and system time of the process and of what it waited
for, with bytecode in place: each is run once before it is timed. `loops` is the median of what that is in
each round, in loops of 3,000,000 steps that the same Python runs right after it. The commands read a ledger
that a proxy has made, first with no proxy running, then beside one, which answers them.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from operator import truediv
from pathlib import Path

SECONDLOOK = [sys.executable, "-m", "secondlook"]
NO_WORK = {  # over before anything is opened: a proxy is not asked
    "--help": ["--help"],
    "log --help": ["log", "--help"],
    "setup ca --help": ["setup", "ca", "--help"],
    "no such command": ["stauts"],
    "no such option": ["status", "--nope"],
    "no such value": ["log", "--kind", "nope"],
    "completion": ["log", "--ki"],
}
COMMANDS = {
    "status": ["status"],
    "log": ["log"],
    "rules list": ["rules", "list"],
    "queue list": ["queue", "list"],
    "block": ["block", "bad.example"],
    "allow": ["allow", "good.example"],
    "pause": ["pause", "1"],
    "check": ["check", "http://a.example/"],
}
FLOOR = {  # what a command that opens settings and ledger cannot do without, imported and not used
    "Python alone": "",
    "Typer imported": "import typer;",
    "pydantic imported": "from pydantic import BaseModel, TypeAdapter;",
    "SQLAlchemy imported": "import sqlalchemy.dialects.sqlite;",
}
FLOOR["all three imported"] = "".join(FLOOR.values())
LIKE_A_COMMAND = (
    "from secondlook.ground import collector; collector.collect_seldom();"  # looks for no garbage
)
LOOP = """
def loop():
    number = 0
    for step in range(3_000_000):
        number += step
import time; begun = time.process_time(); loop(); print(time.process_time() - begun)
"""
COUNT = "import atexit, sys; atexit.register(lambda: print(len(sys.modules), file=sys.stderr));"
RUN = "import runpy; runpy.run_module('secondlook', run_name='__main__', alter_sys=True)"
CONFIG = "servers: {embedded: true}\nworkers: 2\n"
PATIENCE_S = 120.0


def spent(arguments: list[str], environ: dict[str, str]) -> float:
    """Run a program; gives its processor time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, env=environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def measured(name: str, words: list[str], rounds: int) -> dict[str, object]:
    """Take one command's row."""
    environ = dict(os.environ)
    if name == "completion":  # as bash asks for it
        typed = ["secondlook", *words]
        asked = {"COMP_WORDS": " ".join(typed), "COMP_CWORD": str(len(typed) - 1)}
        environ |= {"_SECONDLOOK_COMPLETE": "complete_bash", **asked}
        words = []
    return taken(name, [*SECONDLOOK, *words], [sys.executable, "-c", COUNT + RUN, *words], rounds, environ)


def taken(
    name: str, command: list[str], counted: list[str], rounds: int, environ: dict[str, str]
) -> dict[str, object]:
    """Measure a command; `counted` is the same, run before it, and prints how many modules it came to."""
    told = subprocess.run(counted, capture_output=True, text=True, check=False, env=environ)
    times, loops = [], []
    for _ in range(rounds):
        times.append(spent(command, environ))
        loops.append(float(subprocess.check_output([sys.executable, "-c", LOOP])))
    return {
        "bench": name,
        "seconds": spread(times),
        "loops": round(statistics.median(map(truediv, times, loops)), 2),
        "modules": int(told.stderr.splitlines()[-1]),
    }


def family(supervisor: int) -> list[int]:
    """List a process and its children."""
    return [supervisor, *map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split())]


def processor_seconds(pid: int) -> float:
    """Read what a process has taken, and those that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


class Family:
    """`secondlook run` on a state folder, until the block ends."""

    def __init__(self, place: list[str], state: Path) -> None:
        listen = ["--listen", "127.0.0.1:0", "--review", "127.0.0.1:0"]
        self._process = subprocess.Popen([*SECONDLOOK, "run", *place, *listen], stdout=subprocess.DEVNULL)
        self._run_file = state / "run.json"

    def __enter__(self) -> int:
        end = time.monotonic() + PATIENCE_S
        while (
            not self._run_file.exists() or self._process.pid != json.loads(self._run_file.read_text())["pid"]
        ):
            if time.monotonic() > end or self._process.poll() is not None:
                raise SystemExit("the proxy did not become ready")
            time.sleep(0.02)
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ["PYTHONDONTWRITEBYTECODE"] = ""
    with tempfile.TemporaryDirectory() as folder:
        config, state = Path(folder) / "proxy.yaml", Path(folder) / "state"
        config.write_text(CONFIG)
        place = ["-c", str(config), "--state", str(state)]
        with Family(place, state):
            pass
        starts: list[list[tuple[float, float]]] = []
        for _ in range(rounds):
            with Family(place, state) as pid:
                starts.append([(processor_seconds(each), memory_mib(each)) for each in family(pid)])
        for name, code in FLOOR.items():
            code = LIKE_A_COMMAND + code  # noqa: PLW2901
            bare = [sys.executable, "-c", code], [sys.executable, "-c", COUNT + code]
            print(json.dumps(taken(name, *bare, rounds, dict(os.environ))), flush=True)
        for name, words in NO_WORK.items():
            print(json.dumps(measured(name, words, rounds)), flush=True)
        for name, words in COMMANDS.items():
            print(json.dumps(measured(name, [*words, *place], rounds)), flush=True)
        with Family(place, state):
            for name, words in COMMANDS.items():
                row = measured(f"{name}, beside a proxy", [*words, *place], rounds)
                print(json.dumps(row), flush=True)
    sums = [[sum(times) for times in zip(*start, strict=True)] for start in starts]
    print(
        json.dumps(
            {
                "bench": "run, until ready: supervisor, service, two workers",
                "seconds": spread([seconds for seconds, _ in sums]),
                "resident_MiB": spread([memory for _, memory in sums]),
            }
        )
    )


if __name__ == "__main__":
    main()
