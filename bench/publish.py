"""P8, P9 and the server's cost per million entries: import, publish, delta, disk and memory.

.venv/bin/python bench/publish.py [--entries 1000000,10000000] [--corpus FILE.xz …]
"""

import argparse
import json
import lzma
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "addon")]

from secondlook.server.generation import Generation  # noqa: E402
from secondlook.server.importing import import_files  # noqa: E402
from secondlook.server.publishing import publish  # noqa: E402
from secondlook.server.store import ServerStore  # noqa: E402
from secondlook.server.updates import Updater, keep  # noqa: E402
from secondlook.wire import safebrowsing_pb2 as pb  # noqa: E402
from secondlook.wire.update import apply_update  # noqa: E402
from synthetic import add_source, folder_bytes  # noqa: E402

CORPORA = (
    "malicious/phishdb_urls.txt.xz",
    "malicious/phishdb_domains.txt.xz",
    "malicious/urlhaus_hist_urlpaths.txt.xz",
)


def timed[Result](work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def importing(folder: Path, data: Path) -> dict:
    """P9: parse, canonicalize, hash, sort and write real lists, on one core."""
    files = []
    for name in CORPORA:
        path = folder / Path(name).stem
        with lzma.open(data / name) as packed:
            path.write_bytes(packed.read())
        files.append(path)
    store = ServerStore(folder / "store")
    report, took = timed(lambda: import_files(store, files, who="bench", now=time.time()))
    return {
        "what": "P9 import",
        "entries": report.accepted,
        "seconds": round(took, 2),
        "entries_per_s": round(report.accepted / took),
        "peak_mib": round(peak_mib()),
    }


def publishing(folder: Path, count: int) -> list[dict]:
    """P8 and the cost per million: publish, change one percent, make and apply the delta."""
    store = ServerStore(folder / "store")
    _, made = timed(lambda: add_source(store, count, seed=1))
    before = peak_mib()
    report, published = timed(lambda: publish(store, now=time.time()))
    generation = Generation(store.generation_folder(report.generation))
    result = {
        "what": "publish",
        "entries": report.entries,
        "sort_source_s": round(made, 2),
        "publish_s": round(published, 2),
        "peak_mib_before": round(before),
        "peak_mib": round(peak_mib()),
        "source_mb": round(folder_bytes(store.sources_folder) / 1e6, 1),
        "generation_mb": round(folder_bytes(generation.folder) / 1e6, 1),
    }
    first = Updater(keep([generation]), generation.lists["mw-8b"])
    full, encoded = timed(lambda: first.update(b""))
    message = pb.HashList.FromString(full.packed)
    applied, decoded = timed(lambda: apply_update(message, "mw-8b", 8, None))
    result |= {
        "full_mb": round(len(full.packed) / 1e6, 1),
        "encode_s": round(encoded, 2),
        "decode_s": round(decoded, 2),
    }
    add_source(store, count // 100, seed=2, name="one percent")
    second = Generation(store.generation_folder(publish(store, now=time.time()).generation))
    updater = Updater(keep([generation, second]), second.lists["mw-8b"])
    delta, made = timed(lambda: updater.update(message.version))
    part = pb.HashList.FromString(delta.packed)
    done, taken = timed(lambda: apply_update(part, "mw-8b", 8, applied.entries))
    assert done.entries == bytes(second.raw("mw-8b"))
    result |= {
        "delta_mb": round(len(delta.packed) / 1e6, 3),
        "delta_make_s": round(made, 2),
        "delta_apply_s": round(taken, 2),
        "peak_mib_all": round(peak_mib()),
    }
    return [result]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", default="1000000,10000000")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder = Path(tempfile.mkdtemp(prefix="secondlook-bench-"))
        try:
            work = (
                importing(folder, options.data)
                if options.one == "import"
                else publishing(folder, int(options.one))
            )
        finally:
            shutil.rmtree(folder)
        print(json.dumps(work))
        return
    sizes = [part for part in options.entries.split(",") if part]
    for one in (["import"] if options.data.is_dir() else []) + sizes:
        # Each in a process of its own, so that its peak memory is its own.
        done = subprocess.run(
            [sys.executable, __file__, "--one", one, "--data", str(options.data)],
            check=True,
            capture_output=True,
            text=True,
        )
        print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
