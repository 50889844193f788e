"""What importing feeds costs (P9): parse, canonicalize and hash real lists, per core; and memory.

Run: `python bench/feeds.py [--rounds 5] [--file PATH …]`; prints one JSON object a line. `ratio` compares
with splitting the same file into lines and hashing each, the least that any importer must do.
"""

import argparse
import hashlib
import json
import lzma
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from secondlook.core.url.canonical import url_subject
from secondlook.feeds.reader import read
from secondlook.suffix import load_suffixes

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FEEDS = (
    "malicious/phishdb_urls.txt.xz",
    "malicious/phishdb_domains.txt.xz",
    "malicious/urlhaus_hist_ipv4.txt.xz",
    "malicious/urlhaus_hist_urlpaths.txt.xz",
    "feeds/abusech/urlhaus_csv_online_2026-02-07.csv.xz",
    "feeds/abusech/threatfox_export_2026-07-09.json.xz",
    "feeds/phishing-database/phishing-domains-ACTIVE2.adblock.xz",
    "feeds/urlhaus-filter-2025-07-19/urlhaus-filter.txt.xz",
    "hashes/romainmarcoux_sha256.txt.xz",
)
CHUNK_BYTES = 65_536
BROWSING = "requests/reddit_links.txt.xz"
BROWSING_URLS = 20_000
LONG_FEED_LINES = 5_000_000


def tell(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def chunks(data: bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))


def importing(path: Path, rounds: int) -> None:
    """Measure one file, unpacked beforehand: unpacking is the packer's speed, not ours."""
    raw = path.read_bytes()
    data = lzma.decompress(raw) if path.suffix == ".xz" else raw
    suffixes = load_suffixes()
    speeds: list[float] = []
    ratios: list[float] = []
    entries = rows = 0
    for _ in range(rounds):
        start = time.process_time()
        for line in data.split(b"\n"):
            hashlib.sha256(line).digest()
        least = time.process_time() - start
        start = time.process_time()
        reading = read(chunks(data), suffixes=suffixes, name_hint=path.name.removesuffix(".xz"))
        entries = sum(1 for _ in reading)
        spent = time.process_time() - start
        rows = reading.tally.rows
        speeds.append(rows / spent)
        ratios.append(least / spent)
    tell(
        "import",
        file=path.name,
        rows=rows,
        entries=entries,
        rows_per_s=round(statistics.median(speeds)),
        spread=round((max(speeds) - min(speeds)) / statistics.median(speeds), 2),
        ratio=round(statistics.median(ratios), 3),
    )


def memory() -> None:
    """Read a feed that is never in memory as a whole."""
    lines = (f"http://host{number}.example/path/{number}?q={number}\n" for number in range(LONG_FEED_LINES))

    def pieces() -> Iterator[bytes]:
        batch: list[str] = []
        for line in lines:
            batch.append(line)
            if len(batch) == 1_000:
                yield "".join(batch).encode()
                batch.clear()

    tracemalloc.start()
    count = 0
    for _ in read(pieces(), suffixes=load_suffixes()):
        count += 1
        if count == LONG_FEED_LINES // 10:
            break  # tracing costs; by now the caches are full
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tell("import memory", entries=count, peak_mb=round(peak / 1e6, 1))


def canonicalizing(rounds: int) -> None:
    """Measure making the subject of a URL that was never seen before: canonical form, expressions, hashes."""
    with lzma.open(DATA / BROWSING, "rt", encoding="utf-8", errors="replace") as file:
        urls = [line.strip() for _, line in zip(range(BROWSING_URLS), file, strict=False)]
    suffixes = load_suffixes()
    costs = []
    for _ in range(rounds):
        start = time.process_time()
        for url in urls:
            url_subject(url, suffixes)
        costs.append((time.process_time() - start) / len(urls) * 1e6)
    forms = sum(len(url_subject(url, suffixes).hashes) for url in urls) / len(urls)
    tell(
        "url subject",
        urls=len(urls),
        microseconds=round(statistics.median(costs), 2),
        expressions=round(forms, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--file", type=Path, action="append")
    options = parser.parse_args()
    for path in options.file or [DATA / name for name in FEEDS]:
        importing(path, options.rounds)
    if not options.file:
        canonicalizing(options.rounds)
        memory()


if __name__ == "__main__":
    main()
