"""P14: what memory does over a million requests and more, once caches are full.

Run: `PYTHONPATH=tests python bench/longrun.py [--warm 600000] [--requests 1000000] [--slice 20]`; prints one
JSON object a line. One worker with the embedded server and real lists where they are there. Of the requests
40 % are for pages never seen, 40 % for pages of 20,000 that come again and again, 15 % for a program of 40 kB
that is held and asked about (each under a name of its own) and 5 % for a listed page, which is an event in
the log. Each process is weighed when the caches are full and at the end, by what it has for itself alone
(USS): mapped lists, which all processes share, are not its own.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from e2e.processes import Proxy, wait_for
from load import CONNECTIONS
from peers import nginx
from traffic import real_lists, tell

MIB = 1 << 20
MIXED = """
local address = os.getenv("ORIGIN")
local counter, thread, pause = 0, 0, 0
setup = function(t) thread = thread + 1; t:set("salt", os.time() .. "-" .. thread) end
init = function() math.randomseed(os.time()) end
local listed = "http://malware.secondlook.test/"
request = function()
  counter = counter + 1
  local kind, path = counter % 20, nil
  if kind == 0 then return wrk.format("GET", listed .. counter, {["Host"] = "malware.secondlook.test"})
  elseif kind < 9 then path = "/p/" .. salt .. "/" .. counter .. ".html"
  elseif kind < 12 then path = "/program.exe?" .. salt .. counter
  else path = "/again/" .. math.random(20000) .. ".html" end
  return wrk.format("GET", "http://" .. address .. path, {["Host"] = address})
end
"""


def weighed(proxy: Proxy) -> dict[str, float]:
    """MiB that each process of the proxy has for itself, by role."""
    facts = proxy.fresh_facts()
    roles = {proxy.process.pid: "supervisor", facts["service"]: "service"}
    roles |= dict.fromkeys(facts["workers"], "worker")
    root = psutil.Process(proxy.process.pid)
    weights: dict[str, float] = {}
    for process in (root, *root.children(recursive=True)):
        role = roles.get(process.pid, "others")
        weights[role] = weights.get(role, 0) + process.memory_full_info().uss / MIB
    return {role: round(weight, 1) for role, weight in weights.items()}


def drive(address: str, script: Path, origin: str, seconds: float) -> int:
    """Send the mixture for so long; gives how many requests were answered."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script)]
    command.append(f"http://{address}/")
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", "ORIGIN": origin}
    )
    if "Socket errors" in done.stdout:
        raise SystemExit(done.stdout)
    return int(re.search(r"(\d+) requests in", done.stdout)[1])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--warm", type=int, default=600_000)
    arguments.add_argument("--requests", type=int, default=1_000_000)
    arguments.add_argument("--slice", type=float, default=20.0, help="seconds between two weighings")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="secondlook-bench-") as name:
        folder = Path(name)
        state = real_lists(folder)
        script = folder / "mixed.lua"
        script.write_text(MIXED)
        config = folder / "proxy.yaml"
        config.write_text("workers: 1\nfeeds: [{name: test, builtin: test}]\n")
        with nginx(folder) as (plain, _):
            (folder / "program.exe").write_bytes(b"MZ" + bytes(40_000))
            proxy = Proxy(state, config)
            try:
                wait_for(lambda: proxy.json("pattern", "status") or None, "the lists", 120)
                began = time.monotonic()
                warm: dict[str, float] | None = None
                weights: list[dict[str, float]] = []
                seen = 0
                while warm is None or seen < given.warm + given.requests:
                    seen += drive(proxy.address, script, f"127.0.0.1:{plain}", given.slice)
                    now = weighed(proxy)
                    print(f"{seen:,} requests: {now} MiB", file=sys.stderr)
                    if warm is None and seen >= given.warm:
                        warm, began, first = now, time.monotonic(), seen
                    elif warm is not None:
                        weights.append(now)
                end = weights[-1]
                for role, before in warm.items():
                    tell(
                        f"P14 own memory of the {role}",
                        requests=seen - first,
                        warm_mib=before,
                        end_mib=end[role],
                        highest_mib=max(each[role] for each in weights),
                        growth_percent=round((end[role] / before - 1) * 100, 1),
                        budget_percent=5,
                        per_s=round((seen - first) / (time.monotonic() - began)),
                    )
            finally:
                proxy.stop()


if __name__ == "__main__":
    main()
