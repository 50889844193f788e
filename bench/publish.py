"""P8, P9 and the server's cost per million entries: import, publish, full list, delta; disk, memory, time.

Run: `python bench/publish.py [--entries 1000000,10000000]`; prints one JSON object a line. Every stage runs
in a process of its own, so that its peak of memory and its processor time are its own.
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

from secondlook.server.publish.generation import Generation
from secondlook.server.publish.publishing import publish
from secondlook.server.store.importing import import_files
from secondlook.server.store.store import ServerStore
from secondlook.server.updates import Updater, keep
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.update import apply_update
from synthetic import add_source, folder_bytes

HERE = Path(__file__).resolve().parent


LIST = "mw-8b"
CORPORA = (
    "malicious/phishdb_urls.txt.xz",
    "malicious/phishdb_domains.txt.xz",
    "malicious/urlhaus_hist_urlpaths.txt.xz",
)


def importing(folder: Path, data: Path) -> dict[str, object]:
    """P9: parse, canonicalize, hash, sort and write real lists, on one core."""
    files = []
    for name in CORPORA:
        path = folder / Path(name).stem
        with lzma.open(data / name) as packed:
            path.write_bytes(packed.read())
        files.append(path)
    began = time.process_time()
    report = import_files(ServerStore(folder / "store"), files, who="bench", now=time.time())
    used = time.process_time() - began
    return {"entries": report.accepted, "entries_per_cpu_s": round(report.accepted / used)}


def make_source(folder: Path, count: int) -> dict[str, object]:
    """Sort random hashes into a source."""
    store = ServerStore(folder / "store")
    seed = 1 + len(store.sources())
    add_source(store, count, seed=seed, name=f"synthetic {seed}")
    return {"source_mb": megabytes(store.sources_folder)}


def publishing(folder: Path, _: int) -> dict[str, object]:
    """Make the next generation."""
    store = ServerStore(folder / "store")
    report = publish(store, now=time.time())
    return {
        "entries": report.entries,
        "generation_mb": megabytes(store.generation_folder(report.generation)),
    }


def serving(folder: Path, _: int) -> dict[str, object]:
    """Make what an agent is sent: the full list first, then the delta from the generation before."""
    store = ServerStore(folder / "store")
    numbers = store.generations()
    generations = [Generation(store.generation_folder(number)) for number in numbers]
    updater = Updater(keep(generations), generations[-1].lists[LIST])
    known = generations[-2].lists[LIST].version if len(generations) > 1 else b""
    update = updater.update(known)
    (folder / f"update-{len(numbers)}").write_bytes(update.packed)
    return {"message_mb": round(len(update.packed) / 1e6, 3)}


def applying(folder: Path, _: int) -> dict[str, object]:
    """Take an update in as an agent does; the result is compared with what the server has."""
    store = ServerStore(folder / "store")
    number = len(store.generations())
    kept = folder / "agent"
    before = kept.read_bytes() if kept.exists() else None
    message = pb.HashList.FromString((folder / f"update-{number}").read_bytes())
    done = apply_update(message, LIST, 8, before)
    generation = Generation(store.generation_folder(store.generations()[-1]))
    assert done.entries == bytes(generation.raw(LIST))
    kept.write_bytes(done.entries)
    return {}


def megabytes(folder: Path) -> float:
    return round(folder_bytes(folder) / 1e6, 1)


STAGES: dict[str, Callable[[Path, int], dict[str, object]]] = {
    "source": make_source,
    "publish": publishing,
    "serve": serving,
    "apply": applying,
}


def run(stage: str, folder: Path, argument: object) -> dict[str, object]:
    """Run one stage in a process of its own; figures with its time, processor time and peak of memory."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--stage", stage, str(folder), str(argument)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout) | {"wall_s": round(time.perf_counter() - began, 2)}


def cost(folder: Path, count: int) -> dict[str, object]:
    """What `count` entries cost, and a change of one percent of them."""
    stages = {"source": run("source", folder, count)}
    for name, stage in (("publish", "publish"), ("full_made", "serve"), ("full_applied", "apply")):
        stages[name] = run(stage, folder, 0)
    run("source", folder, count // 100)
    for name, stage in (("publish_1pc", "publish"), ("delta_made", "serve"), ("delta_applied", "apply")):
        stages[name] = run(stage, folder, 0)
    return stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", default="1000000,10000000")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder else")
    parser.add_argument("--stage", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage, folder, argument = options.stage
        if stage == "import":
            figures = importing(Path(folder), Path(argument))
        else:
            figures = STAGES[stage](Path(folder), int(argument))
        used = resource.getrusage(resource.RUSAGE_SELF)
        figures |= {"cpu_s": round(used.ru_utime + used.ru_stime, 2), "peak_mb": used.ru_maxrss // 1000}
        print(json.dumps(figures))
        return
    sizes = [int(part) for part in options.entries.split(",") if part]
    for count in ([0] if options.data.is_dir() else []) + sizes:
        folder = Path(tempfile.mkdtemp(prefix="secondlook-bench-", dir=options.folder))
        try:
            if count:
                figures = {"bench": "cost", "entries": count, **cost(folder, count)}
            else:
                figures = {"bench": "P9 import", **run("import", folder, options.data)}
        finally:
            shutil.rmtree(folder)
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
