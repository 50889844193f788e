"""Listed files by every road: plain and intercepted, HTTP/1.1 and HTTP/2, with curl, wget and Chromium. 25 s.

One proxy, real digest lists imported into its own server. What each list names by itself: EICAR by SHA-256,
EICAR with a line feed by MD5; no real SHA-1 list holds a file that can be had, so ours adds one. Beside each
of these, which is held and refused, a program too large to be held, which is cut in its tail.
"""

import hashlib
import itertools
import json
import lzma
import queue
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.browser import chromiums
from e2e.processes import Proxy, make_certificate, needs, server_import, server_publish, wait_for
from proxykit.nginx import Nginx, nginx
from proxykit.samples import EICAR, program, zipped

KINDS = ("sha256", "md5", "sha1")
SMALL = {"sha256": EICAR, "md5": EICAR + b"\n", "sha1": EICAR + b"\r\n"}
LARGE_BYTES = 3 << 20
LARGE = {kind: program(LARGE_BYTES, seed) for seed, kind in enumerate(KINDS)}
CLEAN = program(LARGE_BYTES, 9)
TAIL_BYTES = 64 << 10
CONFIG = """
workers: 1
feeds: []
downloads: {hold_up_to: 1 MiB}
mitmproxy: {ssl_insecure: true}
"""
LIST = "x-file-mw-8b"
REAL = {
    "sha256": "hashes/sophos_discord_files_upper.csv.xz",
    "md5": "feeds/clamav/rfxn.hdb.xz",
    "sha1": "hashes/romainmarcoux_sha1.txt.xz",
}
EXCERPT = {"sha256": "eicar_sha256.txt", "md5": "eicar.hdb", "sha1": "eicar_sha1.txt"}
FILES = {
    **{f"small-{kind}.com": body for kind, body in SMALL.items()},
    **{f"large-{kind}.exe": body for kind, body in LARGE.items()},
    "clean.exe": CLEAN,
    "packed.zip": zipped({"docs/readme": b"hi", "eicar.com": EICAR}),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One download: which file, from where, by whom."""

    client: str
    road: str
    file: str

    @property
    def kind(self) -> str:
        return self.file.partition("-")[2].partition(".")[0]


ROADS = {"plain": ("http", "plain"), "tls": ("https", "tls"), "http2": ("https", "http2")}
CELLS = [
    Cell(client, road, file)
    for client, road, file in itertools.product(("curl", "wget", "chromium"), ROADS, FILES)
    if (client, road) != ("wget", "http2") and (file != "packed.zip" or client == "curl")
]


def _lists(kind: str, shared: Path | None, excerpt: Path, folder: Path) -> list[Path]:
    """The real list of one kind of digest, unpacked, and ours beside it."""
    real = excerpt / EXCERPT[kind]
    if shared is not None:
        packed = shared / REAL[kind]
        real = folder / packed.name.removesuffix(".xz")
        with lzma.open(packed) as file:
            real.write_bytes(file.read())
    ours = folder / f"ours-{kind}.txt"
    bodies = [LARGE[kind], *([SMALL[kind]] if kind == "sha1" else [])]
    ours.write_text("".join(f"{hashlib.new(kind, body).hexdigest()}\n" for body in bodies))
    return [real, ours]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Nginx]:
    with nginx(tmp_path / "nginx", *make_certificate(tmp_path, "localhost", "127.0.0.1")) as found:
        for name, body in FILES.items():
            (found.root / name).write_bytes(body)
        yield found


def _url(site: Nginx, cell: Cell) -> str:
    """An address that no other download has, scheme and port aside: that of a refused file is refused too."""
    scheme, port = ROADS[cell.road]
    return f"{scheme}://localhost:{getattr(site, port)}/{cell.file}?{cell.client}.{cell.road}"


@dataclass
class Got:
    """What a client has of a file, and whether it believes that it has it."""

    succeeded: bool
    body: bytes
    http: str


def _curl(proxy: Proxy, url: str, cell: Cell, folder: Path) -> Got:
    version = "--http2" if cell.road == "http2" else "--http1.1"
    target = folder / "curl"
    told = ["-w", "%{http_version}", "--fail", "-e", "http://referrer.test/", "-o", str(target)]
    answer = proxy.curl(url, version, *told)
    body = target.read_bytes() if target.exists() else b""
    target.unlink(missing_ok=True)
    return Got(answer.exit == 0, body, answer.body.decode())


def _wget(proxy: Proxy, url: str, cell: Cell, folder: Path) -> Got:
    folder = folder / "wget"
    folder.mkdir()
    proxies = [f"-e{scheme}_proxy={proxy.url}" for scheme in ("http", "https")]
    done = subprocess.run(
        [
            needs("wget"),
            "-q",
            "-t1",
            *proxies,
            f"--ca-certificate={proxy.ca}",
            "--referer=http://referrer.test/",
            url,
        ],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=60,
    )
    got = [path.read_bytes() for path in folder.iterdir()]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert len(got) <= 1
    return Got(done.returncode == 0, got[0] if got else b"", "1.1")


class _Browser:
    """Chromium that keeps downloads under their own names, as a person's does."""

    def __init__(self, proxy: Proxy, site: Nginx, folder: Path, browser: Any) -> None:
        self._site, self._folder = site, folder
        folder.mkdir(exist_ok=True)
        self._ends: queue.Queue[dict[str, Any]] = queue.Queue()
        context = browser.new_context(proxy={"server": proxy.url})
        self.page = context.new_page()
        self._session = browser.new_browser_cdp_session()
        (identity,) = self._session.send("Target.getBrowserContexts")["browserContextIds"]
        self._session.send(
            "Browser.setDownloadBehavior",
            {
                "behavior": "allow",
                "downloadPath": str(folder),
                "browserContextId": identity,
                "eventsEnabled": True,
            },
        )
        self._session.on("Browser.downloadProgress", self._ends.put)

    def get(self, url: str, cell: Cell) -> Got:
        """Follow a link that is to be saved; wait until Chromium says what came of it."""
        scheme, port = ROADS[cell.road]
        self.page.goto(f"{scheme}://localhost:{getattr(self._site, port)}/page.html")
        http = self.page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
        self.page.evaluate(
            "url => {const a = document.createElement('a'); a.href = url; a.download = '';"
            "document.body.append(a); a.click()}",
            url,
        )

        def ended() -> str | None:
            self.page.wait_for_timeout(20)  # Playwright hears of events only while it is asked something
            while not self._ends.empty():
                state: str = self._ends.get()["state"]
                if state in {"completed", "canceled"}:
                    return state
            return None

        state = wait_for(ended, f"the end of {cell}")
        target = self._folder / cell.file
        assert state == "completed" or not target.exists(), cell
        body = target.read_bytes() if target.exists() else b""
        target.unlink(missing_ok=True)
        return Got(state == "completed", body, {"h2": "2"}.get(http, "1.1"))


def _with_chromium(proxy: Proxy, site: Nginx, folder: Path, cells: list[Cell]) -> None:
    """Chromium speaks HTTP/2 to the proxy whatever the origin speaks, unless it is told not to."""
    options = ("--proxy-bypass-list=<-loopback>", "--ignore-certificate-errors")
    with chromiums() as start:
        for http2 in (False, True):
            with start(*options, *([] if http2 else ["--disable-http2"])) as browser:
                person = _Browser(proxy, site, folder, browser)
                for cell in cells:
                    if (cell.road == "http2") == http2:
                        _judge(cell, person.get(_url(site, cell), cell))


def _judge(cell: Cell, got: Got) -> None:
    assert got.http == ("2" if cell.road == "http2" else "1.1"), (cell, got.http)
    if cell.file == "clean.exe":
        assert (got.succeeded, got.body == CLEAN) == (True, True), cell
        return
    assert not got.succeeded, cell
    assert len(got.body) <= (LARGE_BYTES - TAIL_BYTES if cell.file.startswith("large") else 0), cell


def _refusal(proxy: Proxy, url: str) -> str:
    """Say by what an address is refused: engines know a file before any list does."""
    return proxy.curl(url).headers.get("x-second-look", "")


@pytest.mark.browser
def test_listed_files_never_arrive_whole(start_proxy, site, shared_data, test_data, tmp_path):
    state = tmp_path / "state"
    lists = {kind: _lists(kind, shared_data, test_data / "hashes", tmp_path) for kind in KINDS}
    (site.root / "page.html").write_text("<title>downloads</title>")

    def take_up(*kinds: str) -> None:
        reports = server_import(state / "server", LIST, *itertools.chain.from_iterable(map(lists.get, kinds)))
        assert all(each["refused"] is None for each in reports), reports
        assert server_publish(state / "server")["changed"]

    take_up("sha256")
    proxy: Proxy = start_proxy(CONFIG)

    # MD5 and SHA-1 are computed only once a list holds such entries
    first = f"http://localhost:{site.plain}/small-sha256.com?first"
    assert proxy.curl(first).status == 403
    take_up("md5", "sha1")
    fresh = itertools.count()
    wait_for(
        lambda: (
            "stage=pattern" in _refusal(proxy, f"http://localhost:{site.plain}/small-md5.com?{next(fresh)}")
        ),
        "the longer list",
    )

    for client, of_client in itertools.groupby(CELLS, lambda cell: cell.client):
        if client == "chromium":
            _with_chromium(proxy, site, tmp_path / "downloads", list(of_client))
            continue
        for cell in of_client:
            _judge(cell, (_curl if client == "curl" else _wget)(proxy, _url(site, cell), cell, tmp_path))
    _plain_http2_is_no_way_around(proxy, site)

    refused = {_url(site, cell) for cell in CELLS if cell.file != "clean.exe"} | {first}
    told = _told(proxy, refused)
    assert "digests" not in told[first]["extra"]
    for cell in CELLS:
        if cell.file != "clean.exe":
            _explains(told[_url(site, cell)], cell, site)
    for kind in ("sha256", "md5"):  # it is the real list that names them
        event = told[_url(site, Cell("curl", "http2", f"small-{kind}.com"))]
        assert lists[kind][0].name in event["detail"]


def _told(proxy: Proxy, urls: set[str]) -> dict[str, dict[str, Any]]:
    """Wait for an event about the file at each of the URLs; give the newest of each."""
    told: dict[str, dict[str, Any]] = {}

    def all_told(events: list[dict[str, Any]]) -> bool:
        for each in events:
            if each["subject"] == "file":
                told.setdefault(each["url"], each)
        return urls <= told.keys()

    proxy.json_when(all_told, "log", "--kind", "blocked", "--limit", "10000")
    return told


def _explains(event: dict[str, Any], cell: Cell, site: Nginx) -> None:
    """The log says which file came from where, who sent there, and by which digest it is listed."""
    body = FILES[cell.file]
    scheme, port = ROADS[cell.road]
    page = f"{scheme}://localhost:{getattr(site, port)}/page.html"
    expected = {
        "decision": "block",
        "class": "download",
        "sha256": hashlib.sha256(body).hexdigest(),
        "size": len(body),
        "filename": cell.file,
        "content_type": {"com": "text/plain", "exe": "application/x-msdownload", "zip": "application/zip"}[
            cell.file[-3:]
        ],
        "referrer": page if cell.client == "chromium" else "http://referrer.test/",
        "client": "127.0.0.1",
        "list": LIST,
        "stage": "pattern",
        "threat": "malware",
    }
    assert {key: event[key] for key in expected} == expected, json.dumps(event)
    digests = event["extra"]["digests"]
    assert {kind: digests[kind] for kind in KINDS} == {
        kind: hashlib.new(kind, body).hexdigest() for kind in KINDS
    }
    if cell.file == "packed.zip":
        assert event["extra"]["expression"] == "member:eicar.com"
        assert digests["member:eicar.com"] == hashlib.sha256(EICAR).hexdigest()
    else:
        assert event["extra"]["expression"] == cell.kind


def _plain_http2_is_no_way_around(proxy: Proxy, site: Nginx) -> None:
    """mitmproxy speaks no HTTP/2 without TLS: an upgrade is answered in HTTP/1.1, a bold client with nothing."""
    url = f"http://localhost:{site.plain}/small-sha256.com"
    upgraded = proxy.curl(f"{url}?upgrade", "--http2")
    assert (upgraded.status, EICAR in upgraded.body) == (403, False)
    bold = proxy.curl(f"{url}?bold", "--http2-prior-knowledge", "--proxytunnel")
    assert (bold.status, bold.body) == (0, b"")
    assert bold.exit != 0
