"""Chromium itself, with its v5 flag and without our proxy, fetches our lists and blocks a listed page."""

import asyncio
import os
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from secondlook.ground.tcp import listen_on
from secondlook.server.http.app import ServerApp
from secondlook.server.http.serving import Serving
from secondlook.server.reader import FileReader
from serverkit import make_store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.browser, pytest.mark.e2e]


class Page(BaseHTTPRequestHandler):
    """An origin with the same page everywhere."""

    def do_GET(self):
        body = b"<title>origin</title><p>the page itself</p>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Watching:
    """Passes requests on to the server and notes what was asked."""

    def __init__(self, app):
        self.app = app
        self.limits, self.is_balancer = app.limits, app.is_balancer
        self.asked = []

    @property
    def reader(self):
        return self.app.reader

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.asked.append(scope["path"])
        await self.app(scope, receive, send)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Any certificate: Chromium is told not to look at it."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "safebrowsing.googleapis.com")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_file, key_file


async def until(what, seconds):
    for _ in range(int(seconds * 10)):
        if what():
            return True
        await asyncio.sleep(0.1)
    return False


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_chromium_blocks_a_listed_page_without_our_proxy(tmp_path):
    from playwright.async_api import Error, async_playwright

    origin = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=origin.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{origin.server_port}"
    store = make_store(tmp_path, ["http://127.0.0.1/listed/page.html", "evil.example"])
    certificate_file, key_file = certificate(tmp_path)
    app = Watching(ServerApp(FileReader(store)))

    async def scene():
        serving = Serving(app, [listen_on("127.0.0.1", 0)], certificate=certificate_file, key=key_file)
        await serving.start()
        profile = tmp_path / "profile"
        here = f"127.0.0.1:{serving.port}"
        rules = f"MAP safebrowsing.googleapis.com {here},MAP * ~NOTFOUND,EXCLUDE 127.0.0.1"
        browser = subprocess.Popen(  # noqa: ASYNC220 - started once
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                "--enable-features=SafeBrowsingLocalListsUseSBv5",
                "--safebrowsing-fast-initial-lists-update",
                "--ignore-certificate-errors",
                f"--host-resolver-rules={rules}",
                "about:blank",
            ],
            env={**os.environ, "GOOGLE_API_KEY": "test"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port_file = profile / "DevToolsActivePort"
            assert await until(lambda: port_file.exists() and port_file.read_text().strip(), 60)
            assert await until(lambda: "/v5/hashLists:batchGet" in app.asked, 60), app.asked
            debugging = port_file.read_text().split()[0]
            async with async_playwright() as playwright:
                remote = await playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{debugging}")
                page = await remote.contexts[0].new_page()
                await page.goto(f"{site}/clean/page.html")
                assert await page.title() == "origin"
                blocked = ""
                for _ in range(240):  # the database comes into force a moment after it was fetched
                    try:
                        await page.goto(f"{site}/listed/page.html?{len(app.asked)}")
                        blocked = await page.content()
                    except Error as error:
                        blocked = str(error)
                    if "the page itself" not in blocked:
                        break
                    await asyncio.sleep(0.25)
                assert "the page itself" not in blocked
                assert await page.title() != "origin"
                await page.screenshot(path=str(tmp_path / "blocked.png"))
                await remote.close()
        finally:
            browser.terminate()
            browser.wait(60)
            await serving.stop()
        return blocked

    try:
        told = asyncio.run(scene())
    finally:
        origin.shutdown()
        origin.server_close()
    assert "/v5/hashes:search" in app.asked
    assert told
