"""The attacks: `make attack` runs them, `make test` does not.

Every test here is an attack: its docstring says what is tried and what must hold, the wrapper below measures what
others notice of it and notes a row. `SECONDLOOK_ATTACK_ROWS=file` keeps the rows, `SECONDLOOK_ATTACK_PAGE=page.md`
writes them as a page, beside those of `SECONDLOOK_ATTACK_BEFORE=file`.
"""

import hashlib
import os
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from attackkit.site import Site
from attackkit.stand import Stand, api
from attackkit.table import Row, Table
from attackkit.watch import Watch
from e2e.processes import Proxy, make_certificate
from proxykit.samples import EICAR, program, zipped

HERE = Path(__file__).parent
LISTED = program(700_000, 77)  # a program that our own list names
LARGE_LISTED = program(20_000_000, 78)  # too large to be held
SCRIPT = (b'Set sh = CreateObject("WScript.Shell")\r\nsh.Run "calc.exe"\r\n' * 8)[:409]
LONG_SCRIPT = b"@echo off\r\n" + b"".join(b"set line%d=%064d\r\n" % (n, n) for n in range(4000))
LISTED_ADDRESS = "127.0.0.66"  # and a rule of the operator this address
SETTLE_S = 0.5  # until what is left of an attack is measured
COME_BACK_S = 20.0
GROWN_MIB = 300  # memory that an attack may take
KEPT_MIB = 64  # and that may be left of it: allocators keep some
TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here; leave it out but where it is asked for."""
    for item in items:
        if str(item.path).startswith(f"{HERE}{os.sep}"):
            item.add_marker(pytest.mark.attack)
            # sockets of a site whose connections are cut are left to the collector
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            if not os.environ.get("SECONDLOOK_ATTACK"):
                item.add_marker(pytest.mark.skip(reason="an attack: `make attack` runs it"))


def configuration(folder: Path, more: str = "", *, workers: int = 1) -> Path:
    """A configuration with lists of our own: EICAR is on the one that is shipped."""
    own = folder / "own.txt"
    own.write_text(
        "".join(
            f"{hashlib.sha256(body).hexdigest()}\n" for body in (LISTED, LARGE_LISTED, SCRIPT, LONG_SCRIPT)
        )
    )
    path = folder / "proxy.yaml"
    path.write_text(
        f"""
workers: {workers}
feeds:
  - {{name: test, builtin: test}}
  - {{name: own, path: {own}, threat: malware, format: plain}}
mitmproxy: {{ssl_insecure: true}}
notify: {{desktop: false}}
{more}
"""
    )
    return path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(make_certificate(tmp_path_factory.mktemp("site"), "localhost", "127.0.0.1")) as found:
        yield found


@pytest.fixture(scope="session")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """The watch of a proxy that nobody attacks."""
    folder = tmp_path_factory.mktemp("idle")
    proxy = Proxy(folder / "state", configuration(folder))
    with Watch(proxy.address, proxy.facts["workers"][0]) as watch:
        yield watch
    proxy.stop()


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory, site: Site, idle: Watch) -> Iterator[Stand]:
    def start() -> Proxy:
        folder = tmp_path_factory.mktemp("attacked")
        proxy = Proxy(folder / "state", configuration(folder))
        api(proxy, "POST", "/rules", {"action": "block", "subject": LISTED_ADDRESS})
        warm(proxy, site)
        return proxy

    stand = Stand.make(start, site)
    yield stand
    stand.close()


@pytest.fixture
def stand(attacked: Stand) -> Stand:
    """The proxy to attack, serving."""
    assert attacked.watch.served(COME_BACK_S)
    return attacked


def warm(proxy: Proxy, site: Site) -> None:
    """Use once what is imported when used first, and wait for the lists."""
    site.put("/warm.zip", zipped({"a": b"b"}), "Content-Type: application/zip")
    site.put("/warm.exe", LISTED, "Content-Type: application/octet-stream")
    site.put("/warm.com", EICAR, "Content-Type: application/octet-stream")
    for path in ("/", "/warm.zip", "/warm.com"):
        for tls in (False, True):
            proxy.curl(site.url(path, tls=tls))
    end = time.monotonic() + 20
    while proxy.curl(site.url(f"/warm.exe?{time.monotonic()}")).status != 403:
        assert time.monotonic() < end, proxy.output


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Measure each attack, hold it to what holds for all of them, and note its row."""
    stand: Stand | None = getattr(item, "funcargs", {}).get("stand")
    if stand is None:
        return (yield)
    idle: Watch = item._request.getfixturevalue("idle")
    begun = stand.watch.begin()
    idle.begin()
    proxy, logged = stand.proxy, len(stand.proxy.output)
    fault: BaseException | None = None
    result: object = None
    try:
        result = yield
    except pytest.skip.Exception:
        raise
    except BaseException as raised:  # noqa: BLE001 - raised again below
        fault = raised
    served = stand.watch.served(COME_BACK_S)
    time.sleep(SETTLE_S)
    ended = time.monotonic()
    attacked = stand.watch.between(begun, ended)
    reason = str(fault).splitlines()[0] if fault and str(fault) else type(fault).__name__ if fault else ""
    if not served:
        reason += f" nobody is served {COME_BACK_S:g} s after it"
    elif attacked.grown > GROWN_MIB or attacked.kept > KEPT_MIB:
        reason += f" {attacked.grown:g} MiB were taken, and {attacked.kept:g} stay"
    if faults := proxy.output[logged:].count("Traceback (most recent call last)"):
        reason += f" {faults} faults are in the log"
    name, _, sentence = (item.function.__doc__ or "").strip().partition(": ")
    row = Row(
        layer=(item.module.__doc__ or "").partition(".")[0],
        name=name + _variant(item),
        sentence=sentence.replace("\n    ", " "),
        held=not reason,
        reason=reason.strip(),
        page=attacked.facts(),
        idle=idle.between(begun, ended).facts(),
    )
    item.config.stash[TABLE].rows.append(row)
    if rows := os.environ.get("SECONDLOOK_ATTACK_ROWS"):
        item.config.stash[TABLE].save(Path(rows))
    if not served:
        stand.renew()
    if fault is not None:
        raise fault
    assert not reason, reason
    return result


def _variant(item: pytest.Item) -> str:
    spec = getattr(item, "callspec", None)
    return f", {spec.id}" if spec is not None else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[TABLE]
    if not table.rows:
        return
    terminalreporter.section("attacks")
    terminalreporter.line(table.text())
    for row in table.rows:
        if not row.held:
            terminalreporter.line(f"{row.name}: {row.reason}")
    before = os.environ.get("SECONDLOOK_ATTACK_BEFORE")
    if page := os.environ.get("SECONDLOOK_ATTACK_PAGE"):
        table.write(Path(page), Path(before) if before else None)


def fetched(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a client."""
    return subprocess.run(arguments, capture_output=True, check=False, timeout=60)
