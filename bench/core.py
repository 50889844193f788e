"""What local data costs: lists built, opened, verified and updated (P7, P8), checks (P5), rules, Rice coding.

Run: `python bench/core.py [--entries 10000000] [--folder DIR] [--part NAME]`; prints one JSON object a line.
Every part runs in a process of its own, so that memory is that part's.
"""

import argparse
import hashlib
import json
import lzma
import mmap
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from secondlook.agent.check.checker import Checker
from secondlook.agent.check.groups import Policies
from secondlook.agent.check.view import LocalView
from secondlook.core.answer import Attempt, PrefixAnswer, Tier, TierAnswer
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import parse_list_name
from secondlook.core.lists.pattern import ListInfo, Mirror, Pattern
from secondlook.core.rules.policy import Policy
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import RequestContext, SubjectKind
from secondlook.core.url.canonical import url_subject
from secondlook.core.verdict import SubjectClass
from secondlook.ground.clock import SystemClock
from secondlook.suffix import load_suffixes

URL, PAGE = SubjectKind.URL, SubjectClass.PAGE
LISTS = ("mw-8b", "se-hs-8b", "uws-s-8b")
CORPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "requests" / "reddit_links.txt.xz"
LOCAL_TIER = (Tier.LOCAL,)
BLOCK_ENTRIES = 1_000_000
CHECKS = 30_000


def tell(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def private_mb() -> float:
    """Memory that no other process shares, in MB; 0 where the system does not tell."""
    rollup = Path("/proc/self/smaps_rollup")
    if not rollup.exists():
        return 0.0
    sizes = [int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Private_")]
    return sum(sizes) / 1024


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def random_blocks(entries: int, width: int, seed: int) -> Iterator[bytes]:
    import numpy as np  # noqa: PLC0415 (the parts that measure workers must not load it)

    chance = np.random.default_rng(seed)
    for start in range(0, entries, BLOCK_ENTRIES):
        yield chance.bytes(min(BLOCK_ENTRIES, entries - start) * width)


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def open_list(path: Path) -> HashList:
    with path.open("rb") as file:
        return HashList.open(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def build(folder: Path, entries: int) -> None:
    """P8: a list file from hashes in no order."""
    import numpy as np  # noqa: PLC0415 (as above)

    from secondlook.core.lists.build import write_sorted_list  # noqa: PLC0415 (as above)

    def write(seed: int, file: BinaryIO, scratch: BinaryIO) -> None:
        hashes = np.frombuffer(b"".join(random_blocks(entries, 8, seed)), dtype=">u8")
        write_sorted_list(file, [np.unique(hashes.astype("<u8")).astype(">u8").data], 8, scratch=scratch)

    for seed, name in enumerate(LISTS):
        making = sum(timed(lambda block=block: block) for block in random_blocks(entries, 8, seed))
        with (folder / name).open("w+b") as file, tempfile.TemporaryFile(dir=folder) as scratch:
            seconds = timed(lambda seed=seed, file=file, scratch=scratch: write(seed, file, scratch))
        size_mb = round((folder / name).stat().st_size / 1e6, 2)
        tell(
            "build",
            list=name,
            entries=entries,
            seconds=round(seconds - making, 2),
            peak_mb=peak_mb(),
            file_mb=size_mb,
        )


def opening(folder: Path, entries: int) -> None:
    """P7: opening in a worker, its private memory, whole verification."""
    before = private_mb()
    begun = time.perf_counter()
    hash_list = open_list(folder / LISTS[0])
    opened_s = time.perf_counter() - begun
    after_open = private_mb()
    asked = [hashlib.sha256(str(number).encode()).digest() for number in range(100_000)]
    lookup_s = timed(lambda: [hash_list.has(full_hash) for full_hash in asked])
    lookup_s = min(lookup_s, timed(lambda: [hash_list.has(full_hash) for full_hash in asked]))
    tell(
        "open",
        entries=entries,
        open_ms=round(opened_s * 1e3, 2),
        private_mb=round(after_open - before, 2),
        lookup_us=round(lookup_s / len(asked) * 1e6, 2),
        numpy_loaded="numpy" in sys.modules,
    )
    tell("verify", entries=entries, seconds=round(timed(hash_list.verify), 2))


def delta(folder: Path, entries: int) -> None:
    """P8: an update of 1 % removals and 1 % additions, applied and written."""
    import numpy as np  # noqa: PLC0415 (as above)

    from secondlook.core.lists.build import write_sorted_list  # noqa: PLC0415 (as above)
    from secondlook.wire import rice  # noqa: PLC0415 (as above)
    from secondlook.wire import safebrowsing_pb2 as pb  # noqa: PLC0415 (as above)
    from secondlook.wire.update import apply_update  # noqa: PLC0415 (as above)

    held = b"".join(open_list(folder / LISTS[0]).blocks())
    chance = np.random.default_rng(99)
    old = np.frombuffer(held, dtype=">u8").astype("<u8")
    gone = np.sort(chance.choice(len(old), entries // 100, replace=False))
    added = np.setdiff1d(np.frombuffer(chance.bytes(entries // 100 * 8), dtype="<u8"), old)
    new = np.sort(np.concatenate((np.delete(old, gone), added))).astype(">u8").tobytes()
    message = pb.HashList(name="mw-8b", partial_update=True, sha256_checksum=hashlib.sha256(new).digest())
    message.compressed_removals.CopyFrom(rice.encode(gone.astype(">u4").tobytes(), 4))
    message.additions_eight_bytes.CopyFrom(rice.encode(added.astype(">u8").tobytes(), 8))
    packed = message.SerializeToString()
    begun = time.perf_counter()
    raw = b"".join(open_list(folder / LISTS[0]).blocks())
    applied = apply_update(pb.HashList.FromString(packed), "mw-8b", 8, raw)
    applied_s = time.perf_counter() - begun
    assert applied.entries == new
    with tempfile.TemporaryFile(dir=folder) as file, tempfile.TemporaryFile(dir=folder) as scratch:
        written_s = timed(lambda: write_sorted_list(file, [applied.entries or b""], 8, scratch=scratch))
    tell(
        "delta",
        entries=entries,
        changes=len(gone) + len(added),
        apply_s=round(applied_s, 2),
        write_s=round(written_s, 2),
        message_mb=round(len(packed) / 1e6, 2),
    )


def rice_coding(_: Path, entries: int) -> None:
    """Encoding and decoding sorted random values of every width."""
    import numpy as np  # noqa: PLC0415 (as above)

    from secondlook.wire import rice  # noqa: PLC0415 (as above)

    def best(work: Callable[[], object]) -> float:
        return round(min(timed(work) for _ in range(3)), 3)

    for width in (4, 8, 16, 32):
        block = next(random_blocks(min(entries, BLOCK_ENTRIES), width, width))
        raw = np.unique(np.frombuffer(block, dtype=f"S{width}")).tobytes()
        message = rice.encode(raw, width)
        tell(
            "rice",
            width=width,
            values=len(raw) // width,
            encode_s=best(partial(rice.encode, raw, width)),
            decode_s=best(partial(rice.decode, message)),
            size=round(len(message.encoded_data) / len(raw), 3),
        )


class OneServer:
    """A tier that would answer, if the pattern or the cache did not."""

    def tiers(self, kind: SubjectKind, cls: SubjectClass) -> tuple[Tier, ...]:
        del kind, cls
        return LOCAL_TIER  # the same object every time, as the real one gives while nothing changes

    def fallback(self, tier: Tier, kind: SubjectKind, cls: SubjectClass) -> Tier | None:
        del tier, kind, cls

    def awaited(self, kind: SubjectKind, cls: SubjectClass) -> bool:
        del kind, cls
        return False

    async def ask(
        self, tier: Tier, kind: SubjectKind, cls: SubjectClass, prefixes: Sequence[bytes], *, deadline: float
    ) -> TierAnswer:
        del kind, cls, prefixes, deadline
        return TierAnswer(tier, {}, (Attempt("nobody", "refused", 0.0),), "a benchmark asks nobody")

    def on_recovery(self, callback: Callable[[str], None]) -> None:
        del callback


def corpus() -> list[str]:
    """Real URLs where the shared data is there, else made ones of the same shape."""
    if CORPUS.exists():
        with lzma.open(CORPUS, "rt", errors="replace") as file:
            found = list(dict.fromkeys(line.strip() for line in file if line.startswith("http")))
    else:
        found = [f"https://www.site{n % 9973}.example/a/b{n}/c.html?id={n}" for n in range(CHECKS)]
    return found[:CHECKS]


def make_pattern(folder: Path, *, mirrored: bool) -> Pattern:
    now = time.time()
    lists = []
    for name in LISTS:
        meaning = parse_list_name(name)
        assert meaning is not None
        info = ListInfo(
            name=name,
            width=meaning.width,
            role=meaning.role,
            kind=meaning.kind,
            threat=meaning.threat,
            risk=meaning.risk,
            tier=Tier.LOCAL,
            server="embedded",
            source="embedded",
            complete=True,
            confirmed_at=now,
        )
        lists.append((info, open_list(folder / name)))
    mirror = Mirror(server="embedded", tier=Tier.LOCAL, whole=mirrored, confirmed_at=now, announced=True)
    return Pattern(lists, [mirror])


def spread(microseconds: list[float]) -> dict[str, float]:
    ordered = sorted(microseconds)
    return {
        "p50_us": round(statistics.median(ordered), 2),
        "p99_us": round(ordered[int(len(ordered) * 0.99)], 2),
    }


def each(work: Callable[[str], object], urls: Sequence[str]) -> dict[str, float]:
    clock = time.perf_counter_ns
    spent = []
    for url in urls:
        begun = clock()
        work(url)
        spent.append((clock() - begun) / 1e3)
    return spread(spent)


def checks(folder: Path, entries: int) -> None:
    """P5: a whole check of real URLs, new and seen before, decided by three lists or by the cache."""
    urls = corpus()
    suffixes = load_suffixes()
    subjects = [url_subject(url, suffixes) for url in urls]
    forms = round(statistics.mean(len(subject.hashes) for subject in subjects), 1)
    facts = {"urls": len(urls), "expressions": forms, "entries": entries * len(LISTS)}
    context = RequestContext(PAGE, "127.0.0.1")

    def make_checker(cache: AnswerCache, *, mirrored: bool) -> Checker:
        view = LocalView(Policies(Policy()))
        view.replace(pattern=make_pattern(folder, mirrored=mirrored))
        return Checker(view, OneServer(), cache, suffixes, SystemClock())  # type: ignore[arg-type]

    pattern = make_pattern(folder, mirrored=True)
    for subject in subjects:
        pattern.block_hit(URL, subject.hashes)  # pages of the file are in memory from here on
    lookups = iter(subjects)
    tell("check: lists alone", **each(lambda _: pattern.block_hit(URL, next(lookups).hashes), urls), **facts)
    tell("check: URL alone", **each(lambda url: url_subject(url, suffixes), urls), **facts)

    checker = make_checker(AnswerCache(1), mirrored=True)
    run = each(lambda url: checker.check_now(checker.subject(url), context), urls)
    tell("check: local only, new URL", **run, **facts)
    seen = urls[:10_000]
    checker = make_checker(AnswerCache(1), mirrored=True)
    for url in seen:
        checker.check_now(checker.subject(url), context)
    tell(
        "check: seen before",
        **each(lambda url: checker.check_now(checker.subject(url), context), seen),
        **facts,
    )

    now = time.time()
    cache = AnswerCache(1_000_000)
    for subject in subjects:
        for full_hash in subject.hashes:
            cache.put(
                Tier.LOCAL, URL, full_hash[:4], PrefixAnswer((), now, now + 3600, "embedded", "embedded")
            )
    checker = make_checker(cache, mirrored=False)
    run = each(lambda url: checker.check_now(checker.subject(url), context), urls)
    tell("check: answers in the cache, new URL", **run, **facts)
    dumped = cache.dump()
    tell(
        "cache",
        answers=len(cache),
        dump_s=round(timed(cache.dump), 2),
        load_s=round(timed(lambda: AnswerCache(1_000_000).load(dumped, now=now)), 2),
        mb=round(len(dumped) / 1e6, 1),
    )


def rules(_: Path, __: int) -> None:
    """100,000 host rules, some prefixes and regular expressions: building the book, matching against it."""
    suffixes = load_suffixes()

    def make(number: int, scope: Scope, subject: str) -> Rule:
        return Rule(
            id=str(number),
            action="block",
            scope=scope,
            subject=subject,
            client=None,
            reason=None,
            created=0,
            expires=None,
        )

    book_rules = [make(n, Scope.DOMAIN, f"host{n}.example") for n in range(100_000)]
    book_rules += [make(n, Scope.PREFIX, f"http://p{n}.example/{'a' * (n % 50)}/") for n in range(1_000)]
    book_rules += [make(n, Scope.REGEX, rf"^https?://[^/]*track{n}\.") for n in range(50)]
    begun = time.perf_counter()
    book = RuleBook(book_rules)
    built_s = time.perf_counter() - begun
    subjects = [url_subject(url, suffixes) for url in corpus()]
    following = iter(subjects)
    run = each(
        lambda _: book.match(next(following), "127.0.0.1", None, 1.0), [subject.host for subject in subjects]
    )
    tell("rules", rules=len(book), build_s=round(built_s, 2), **run)


PARTS = {
    "build": build,
    "open": opening,
    "delta": delta,
    "rice": rice_coding,
    "checks": checks,
    "rules": rules,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument(
        "--folder", type=Path, help="where lists are made and left; default: a temporary folder"
    )
    parser.add_argument(
        "--part", choices=PARTS, help="this part only; it wants the lists of `build` in --folder"
    )
    arguments = parser.parse_args()
    if arguments.part:
        PARTS[arguments.part](arguments.folder, arguments.entries)
        return
    with tempfile.TemporaryDirectory(prefix="slbench") as temporary:
        folder = arguments.folder or Path(temporary)
        for part in PARTS:
            command = [sys.executable, __file__, "--part", part, "--folder", folder]
            subprocess.run([*command, "--entries", str(arguments.entries)], check=True)


if __name__ == "__main__":
    main()
