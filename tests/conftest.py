"""Machinery of every test: where the shared data lies, and the public suffixes."""

import gc
import lzma
import os
import re
import signal
import sys
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from secondlook.suffix import PublicSuffixes

settings.register_profile(
    "project",
    deadline=None,  # a busy machine is no fault
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI"
    in os.environ,  # the same inputs each time; new ones are drawn elsewhere, and by `make fuzz`
)
settings.register_profile("quick", settings.get_profile("project"), max_examples=20)
settings.load_profile("project")

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# What `pytest --quick` (make quick) leaves out, and why; all else has to be quick.
NOT_QUICK_PLACES = {
    "e2e": "real processes, browsers and clients",
    "proxy": "a worker and an origin for each story",
    "cli": "commands, each a process",
    "download/test_archive_child.py": "children that unpack, and what is meant to wear them out",
    **dict.fromkeys(
        (
            *("download/test_examination.py", "download/test_file_scanner.py", "download/test_inspector.py"),
            *("ground/test_children.py", "run/test_heartbeat.py", "run/test_settings_editor.py"),
        ),
        "children that work",
    ),
    **dict.fromkeys(
        (
            "download/test_ready_rules.py",
            "run/test_rereading.py",
            "scan/test_compiling.py",
            "scan/test_rule_keeper.py",
        ),
        "a child for each set of rules or settings that is read",
    ),
    "gateway/test_helper.py": "the helper of Squid, a process",
    "scan/test_clamd.py": "a real daemon",
    "setup/test_authority.py": "programs that keep certificates",
    "setup/test_squid_check.py": "a Squid for each of its faults",
    "setup/test_windows.py": "programs that stand for those of Windows",
    "ledger/test_failure.py": "processes that are killed",
    "ledger/test_ledger.py": "processes that open one ledger at the same time",
    "agent/test_promises.py": "whole histories of checks, by the hundred",
    "agent/test_updater.py": "a child for each list that is built",
    "agent/test_updater_lies.py": "a child for each list that is built",
    "agent/test_updater_members.py": "a child for each list that is built",
    "download/test_gate_machine.py": "whole histories of bodies, by the hundred",
    "core/test_hashlist.py": "every bit of a list, flipped",
    "feeds/test_archive.py": "archives of every kind, and bombs",
    "ledger/test_migration.py": "ledgers of every release",
    "ledger/test_reading.py": "every filter of the log against a plain scan",
    "ledger/test_salvage.py": "a ledger damaged at every page",
    "review/test_api.py": "a thousand requests that are made up from a document",
    **dict.fromkeys(
        (
            *("review/test_log_api.py", "review/test_pages.py", "review/test_statistics.py"),
            *("review/test_status_api.py", "server/test_app.py", "server/test_publishing.py"),
        ),
        "a ledger or a store for each page or answer",
    ),
    "refusal/test_language.py": "a page in each language for each of its cases",
    "run/test_age.py": "keys of passphrases, which are costly by intention",
    **dict.fromkeys(
        (
            *("run/test_entry.py", "run/test_making.py", "run/test_restoring.py"),
            *("run/test_shortage.py", "run/test_supervisor.py"),
        ),
        "a family of processes",
    ),
    **dict.fromkeys(
        (
            *("server/test_embedded.py", "server/test_feed_failures.py", "server/test_feed_refusals.py"),
            *("server/test_keeper.py", "server/test_refresh.py", "server/test_rules.py"),
            *("server/test_switching.py", "server/test_taking.py"),
        ),
        "a child for each feed that is taken in",
    ),
    "server/test_importing.py": "real lists, whole",
    "server/test_loading.py": "database servers, and tables of a hundred thousand rows",
    "server/test_publisher.py": "a database server",
    "server/test_reader.py": "database servers",
    "server/test_replica.py": "a publisher for each replica",
    "server/test_updates.py": "every version that a client may hold",
    "server/test_valkey_reader.py": "database servers",
    "test_bench.py": "benchmarks, each begun",
    "test_bytecode.py": "every module, compiled",
    "test_site.py": "the documents as a site",
}
NOT_QUICK_FIXTURES = {
    "postgres": "a database server",
    "shared_data": "whole lists of millions of lines",
    "start_proxy": "real processes",
    "start_server": "real processes",
}
NOT_QUICK_PARAMETERS = {"postgresql", "valkey", "cluster", "replica"}  # servers that are started
_LEFT_OUT = pytest.StashKey[frozenset[Path]]()

# What lasts a quarter of a minute and more. Most of it waits for processes that it started: it begins among the others,
# which use the processor meanwhile, and early, as the last of all it would leave the other workers idle.
LONG = (
    *("e2e", "test_promises.py", "test_every_list.py", "test_importing.py"),
    *("test_archive_child.py", "test_decoding.py", "test_file_scanner.py"),
    *("test_download_archives.py", "test_download_clean.py", "test_download_gate.py"),
    *("test_updater.py", "test_updater_lies.py", "test_loading.py", "test_reader.py", "test_failure.py"),
    *("test_api.py", "test_commands.py", "test_ledger.py"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the quick half of the suite."""
    parser.addoption(
        "--quick", action="store_true", help="leave out what starts processes or reads whole lists"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Leave out what is not quick, and draw a fifth of the inputs where a hundred are usual, for who waits."""
    quick = config.getoption("quick")
    config.stash[_LEFT_OUT] = frozenset(TESTS / place for place in NOT_QUICK_PLACES if quick)
    if quick:
        settings.load_profile("quick")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Have more workers than there are cores: half of their time passes waiting."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[object]) -> None:
    """Make once what each worker would make for itself."""
    import kept

    left_out, sources = config.stash[_LEFT_OUT], list[Path]()
    for argument in config.args:
        place = Path(argument.partition("::")[0]).resolve()
        for source in place.rglob("*.py") if place.is_dir() else ():
            if not left_out.intersection((source, *source.parents)):
                sources.append(source)
    kept.keep(config, sources, (REPOSITORY / "addon").rglob("*.py"), len(specs))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave folders and files out without importing them."""
    return True if collection_path in config.stash[_LEFT_OUT] else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Keep the garbage collector from what lasts to the end.

    Eleven thousand tests and all that they import are half a million objects, a third of a second for each full
    collection, and a proxy's event loop makes one whenever it has nothing else to do. What tests make is looked at
    seldom: of the processor time of a test a twentieth went into that.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, *gc.get_threshold()[1:])
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests by what they need, and have the long ones begin where they do not wait for each other."""
    places = _places(list(dict.fromkeys(item.path for item in items)))
    items.sort(key=lambda item: places[item.path])
    if not config.getoption("quick"):
        return

    def is_quick(item: pytest.Item) -> bool:
        callspec = getattr(item, "callspec", None)
        values = callspec.params.values() if callspec else ()
        needed = {value for value in values if isinstance(value, str)} & NOT_QUICK_PARAMETERS
        return not (needed or NOT_QUICK_FIXTURES.keys() & set(getattr(item, "fixturenames", ())))

    kept = [item for item in items if is_quick(item)]
    config.hook.pytest_deselected(items=[item for item in items if not is_quick(item)])
    items[:] = kept


def _places(files: list[Path]) -> dict[Path, float]:
    """Place each file: the long ones evenly among the first three quarters of the others."""
    long = [path for path in files if set(LONG) & set(path.parts)]
    others = [path for path in files if path not in set(long)]
    every = 0.75 * len(others) / max(1, len(long))
    return {path: number for number, path in enumerate(others)} | {
        path: number * every - 0.5 for number, path in enumerate(long)
    }


def pytest_collection_finish() -> None:
    """Have new ledgers copied from one, where tests make any."""
    if "secondlook.ledger.engine.migration" in sys.modules:
        from ledgerkit import copied

        copied.begin()


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests that are marked with `anyio`."""
    return "asyncio"


_numbers = count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own; pytest's goes through the names of thousands of others to find one that is free."""
    name = re.sub(r"\W", "_", request.node.name)[:24]  # short: paths of sockets have a hundred characters
    folder = tmp_path_factory.getbasetemp() / f"{name}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def hangups() -> Iterator[list[int]]:
    """The SIGHUPs that reach this process, which stands for the supervisor."""
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The small real excerpts that are kept with the tests."""
    return REPOSITORY / "tests" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """The large real data beside the repository, or None where there is none."""
    return SHARED_DATA if SHARED_DATA.is_dir() else None


@pytest.fixture(scope="session")
def suffixes() -> "PublicSuffixes":
    """The public suffixes, loaded once."""
    from secondlook.suffix import load_suffixes

    return load_suffixes()


def read_lines(path: Path) -> Iterator[str]:
    """Give the lines of a text file, compressed with xz or not."""
    with lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb") as file:
        for line in file:
            yield line.decode("utf-8", "replace").rstrip("\r\n")
