"""Downloads through the proxy against streamed stock mitmdump, in one run (P6).

Run: `python bench/downloads.py [--rounds 5] [--mib 1024]`; prints one JSON object a line. Origin: nginx with
a sparse file; client: curl to /dev/null. Measured: speed of a risky file (streamed, hashed, tail withheld)
and of a harmless one (streamed and hashed), growth of the worker's resident memory, also while an HTTP/2
client stands still, and the time to the first byte.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

import psutil  # noqa: E402

from e2e.processes import Proxy  # noqa: E402
from traffic import mitmdump, nginx, tell  # noqa: E402

MIB = 1 << 20


def curl(proxy: str, url: str, *arguments: str) -> dict[str, float]:
    """Fetch a URL; gives curl's own figures."""
    written = '{"speed": %{speed_download}, "first": %{time_starttransfer}, "size": %{size_download}}'
    done = subprocess.run(
        ["curl", "-sSk", "-m", "600", "-x", proxy, "-o", "/dev/null", "-w", written, *arguments, url],
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@contextlib.contextmanager
def watched(process: psutil.Process) -> Iterator[dict[str, float]]:
    """Tell by how many MiB a process's resident memory grew at most."""
    before = process.memory_info().rss
    found = {"growth_mib": 0.0}
    stop = False

    def look() -> None:
        while not stop:
            found["growth_mib"] = max(found["growth_mib"], (process.memory_info().rss - before) / MIB)
            time.sleep(0.05)

    import threading  # noqa: PLC0415

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop = True
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        plain, tls = stack.enter_context(nginx(folder))
        size = arguments.mib * MIB
        for file in ("file.exe", "film.mp4"):
            with (folder / file).open("wb") as out:
                out.write(b"MZ" if file.endswith("exe") else b"\0\0")
                out.truncate(size)
        conf = folder / "nginx.conf"
        conf.write_text(conf.read_text().replace("try_files /page.html", "try_files $uri /page.html"))
        subprocess.run(
            ["nginx", "-c", str(conf), "-p", str(folder), "-s", "reload"], capture_output=True, check=True
        )
        time.sleep(0.5)
        stock = stack.enter_context(mitmdump(folder, "--set", "stream_large_bodies=1"))
        config = folder / "config.yaml"
        config.write_text("workers: 1\nfeeds: []\nmitmproxy: {ssl_insecure: true}\n")
        proxy = Proxy(folder / "state", config)
        stack.callback(proxy.stop)
        worker = psutil.Process(proxy.facts["workers"][0])
        for kind, file in (("risky", "file.exe"), ("harmless", "film.mp4")):
            speeds: dict[str, list[float]] = {"secondlook": [], "mitmdump": []}
            growth, first = 0.0, []
            url = f"http://127.0.0.1:{plain}/{file}"
            for _ in range(arguments.rounds):
                speeds["mitmdump"].append(curl(f"http://{stock}", url)["speed"] / MIB)
                with watched(worker) as found:
                    figures = curl(proxy.url, url)
                assert figures["size"] == size
                speeds["secondlook"].append(figures["speed"] / MIB)
                first.append(figures["first"] * 1000)
                growth = max(growth, found["growth_mib"])
            medians = {peer: statistics.median(values) for peer, values in speeds.items()}
            tell(
                f"P6 {kind} download",
                unit="MiB/s",
                ratio=round(medians["secondlook"] / medians["mitmdump"], 2),
                budget=0.6,
                rounds=arguments.rounds,
                mib=arguments.mib,
                growth_mib=round(growth, 1),
                growth_budget_mib=32,
                first_byte_ms=round(statistics.median(first), 1),
                **{peer: round(value) for peer, value in medians.items()},
            )
        client = subprocess.Popen(
            [
                *("curl", "-sSk", "--http2", "-x", proxy.url, "-o", "/dev/null", "--limit-rate", "10k"),
                f"https://127.0.0.1:{tls}/film.mp4",
            ]
        )
        with watched(worker) as found:
            time.sleep(8)
        client.kill()
        client.wait()
        tell("P6 stalled HTTP/2 client", growth_mib=round(found["growth_mib"], 1), growth_budget_mib=32)


if __name__ == "__main__":
    main()
