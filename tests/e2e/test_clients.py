"""Clients that people use, through one proxy: wget, pip, Chromium, a 200 MB upload (10 s)."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.browser import chromium
from e2e.origin import Origin
from e2e.processes import Proxy, needs, wait_for


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("clients")
    config = folder / "proxy.yaml"
    config.write_text("workers: 1\nmitmproxy: {ssl_insecure: true}\n")
    running = Proxy(folder / "state", config)
    yield running
    running.stop()


def test_wget(proxy, plain_origin: Origin, tmp_path: Path):
    wget = needs("wget")
    plain_origin.pages["/good.bin"] = ("application/octet-stream", bytes(range(256)) * 400)

    def get(url: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "http_proxy": proxy.url, "https_proxy": proxy.url}
        return subprocess.run(
            [wget, "-nv", "-T", "20", "-t", "1", f"--ca-certificate={proxy.ca}", url],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert get(plain_origin.url("/good.bin")).returncode == 0
    assert (tmp_path / "good.bin").read_bytes() == plain_origin.pages["/good.bin"][1]
    for url in ("http://malware.secondlook.test/x.zip", "https://malware.secondlook.test/y.zip"):
        done = get(url)
        assert done.returncode == 8
        assert "403" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in {".bin", ".zip"}) == ["good.bin"]


def make_wheel(folder: Path) -> Path:
    path = folder / "harmless-1.0-py3-none-any.whl"
    files = {
        "harmless.py": "VALUE = 42\n",
        "harmless-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n",
        "harmless-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in files) + "harmless-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, "harmless-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(name, text)
    return path


def test_pip_from_a_local_index_over_intercepted_tls(proxy, tls_origin: Origin, tmp_path: Path):
    wheel = make_wheel(tmp_path).read_bytes()
    digest = hashlib.sha256(wheel).hexdigest()
    name = "harmless-1.0-py3-none-any.whl"
    tls_origin.pages["/simple/harmless/"] = (
        "text/html",
        f'<!doctype html><a href="/files/{name}#sha256={digest}">{name}</a>'.encode(),
    )
    tls_origin.pages[f"/files/{name}"] = ("application/octet-stream", wheel)

    def install() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable, "-m", "pip", "--isolated", "install", "--no-deps", "--no-cache-dir", "--retries", "0",
                "--disable-pip-version-check", "--index-url", tls_origin.url("/simple", "localhost", "https"),
                "--proxy", proxy.url, "--cert", str(proxy.ca), "--target", str(tmp_path / "installed"), "harmless",
            ],
            capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip

    done = install()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "installed" / "harmless.py").read_text() == "VALUE = 42\n"
    proxy.command("block", digest)
    wait_for(
        lambda: proxy.curl(tls_origin.url(f"/files/{name}", "localhost", "https")).status == 403, "the block"
    )
    again = install()
    assert again.returncode != 0
    assert "403" in again.stdout + again.stderr


def resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(pid)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_200_mb_upload_to_a_blocked_url_is_refused_at_once(
    proxy, plain_origin, tls_origin, tmp_path, scheme
):
    target = plain_origin if scheme == "http" else tls_origin
    url = target.url("/upload", "localhost", scheme)
    proxy.command("block", url)
    wait_for(lambda: proxy.curl(url).status == 403, "the block")  # whatever a first request costs is paid
    connections = target.connections
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(200 << 20)
    (worker,) = proxy.fresh_facts()["workers"]
    before = resident_kb(worker)
    told = ["-o", os.devnull, "-w", "%{size_upload}"]
    answer = proxy.curl(url, "-T", str(big), "-H", "Expect:", *told)
    assert answer.status == 403
    assert int(answer.body) < 50 << 20  # nearly nothing: it was told long before its end
    assert resident_kb(worker) - before < 32 * 1024
    assert target.connections == connections


@pytest.mark.browser
def test_chromium_shows_the_block_page_on_http_and_https(proxy, tls_origin: Origin, tmp_path: Path):
    tls_origin.pages["/clean"] = ("text/html", b"<title>clean page</title><h1>all is well</h1>")
    shots = Path(os.environ.get("SECONDLOOK_SHOTS", tmp_path))
    with chromium("--proxy-bypass-list=<-loopback>", "--ignore-certificate-errors") as browser:
        page = browser.new_context(proxy={"server": proxy.url}).new_page()

        def visit(url: str, shot: str) -> str:
            page.goto(url)
            page.screenshot(path=shots / shot)
            return page.content()

        for scheme in ("http", "https"):
            shown = visit(f"{scheme}://malware.secondlook.test/", f"blocked-{scheme}.png")
            assert "malware.secondlook.test" in shown
            assert "secondlook.internal/blocked/" in shown
            assert (shots / f"blocked-{scheme}.png").stat().st_size > 5000
        assert "all is well" in visit(tls_origin.url("/clean", "localhost", "https"), "clean.png")

    def told() -> set[tuple[str, str]]:
        events = proxy.json("log", "--kind", "blocked")
        return {
            (event["url"].partition(":")[0], event["class"])
            for event in events
            if event["url"].endswith(".test/")
        }

    wait_for(lambda: told() == {("http", "page"), ("https", "page")}, "the events")
