"""What loads a proxy: wrk, h2load, hey and curl, each with how much came through."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 32
MIB = 1 << 20
PLAIN = """
local address = os.getenv("ORIGIN")
request = function() return wrk.format("GET", "http://" .. address .. "/", {["Host"] = address}) end
"""
FRESH = """
local address = os.getenv("ORIGIN")
local counter, thread = 0, 0
setup = function(t) thread = thread + 1; t:set("salt", os.time() .. "-" .. thread) end
request = function()
  counter = counter + 1
  local url = "http://" .. address .. "/p/" .. salt .. "/" .. counter .. ".html"
  return wrk.format("GET", url, {["Host"] = address})
end
"""


@dataclass(frozen=True)
class Load:
    """What a load generator got through."""

    rate: float  # requests/s, or MiB/s
    count: int  # requests, or MiB


def wrk(url: str, seconds: float, script: Path | None = None, **environment: str) -> Load:
    """Load an address with wrk over keep-alive connections; `environment` is the script's."""
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        "--timeout=30s",
        f"-d{max(1, round(seconds))}s",
        *(["-s", str(script)] if script else []),
        url,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", **environment}
    )
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", done.stdout)
    assert failed is None, f"{url}: {failed and failed[0]}"
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", done.stdout))
    return Load(rate, int(_found(r"(\d+) requests in", done.stdout)))


def h2load(url: str, seconds: float) -> Load:
    """Load an address with h2load over HTTP/2."""
    command = ["h2load", "-t1", "-c8", "-m4", f"-D{max(1, round(seconds))}", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "application protocol: h2" in done.stdout.lower(), done.stdout
    assert re.search(r" 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout
    rate = float(_found(r"finished in .*?, ([\d.]+) req/s", done.stdout))
    return Load(rate, int(_found(r"(\d+) succeeded", done.stdout)))


def hey(proxy: str, url: str, seconds: float, *, close: bool = False) -> Load:
    """Load a proxy with hey through tunnels (CONNECT); with `close` every request has one of its own."""
    lasting = ["-disable-keepalive"] if close else []
    command = ["hey", "-cpus", "1", "-c", str(CONNECTIONS), "-z", f"{seconds:g}s", "-t", "60", *lasting]
    done = subprocess.run(
        [*command, "-x", f"http://{proxy}", url], capture_output=True, text=True, check=True
    )
    statuses = re.findall(r"\[(\d+)\]\s+(\d+) responses", done.stdout)
    assert [status for status, _ in statuses] == ["200"], done.stdout
    assert "Error distribution" not in done.stdout, done.stdout
    return Load(float(_found(r"Requests/sec:\s+([\d.]+)", done.stdout)), int(statuses[0][1]))


def download(proxy: str, url: str, size: int, *arguments: str) -> Load:
    """Download a file of `size` bytes with curl."""
    command = ["curl", "-sSk", "-m", "900", *arguments, "-x", f"http://{proxy}", "-o", "/dev/null"]
    written = '{"speed": %{speed_download}, "size": %{size_download}}'
    done = subprocess.run([*command, "-w", written, url], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    assert figures["size"] == size, figures
    return Load(figures["speed"] / MIB, size // MIB)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]
