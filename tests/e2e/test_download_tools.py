"""Package tools and git install and clone real things through the intercepting proxy, unharmed (15 s)."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.origin import Origin
from e2e.processes import Proxy, make_certificate, needs, wait_for
from proxykit.origin import Asked, send
from proxykit.origin import Origin as RawOrigin

CONFIG = "workers: 1\nfeeds: [{name: test, builtin: test}]\nmitmproxy: {ssl_insecure: true}\n"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("tools")
    config = folder / "proxy.yaml"
    config.write_text(CONFIG)
    running = Proxy(folder / "state", config)
    yield running
    running.stop()


@pytest.fixture(params=["http", "https"])
def site(request: pytest.FixtureRequest) -> tuple[Origin, str]:
    """An origin and the address of its top."""
    origin: Origin = request.getfixturevalue("plain_origin" if request.param == "http" else "tls_origin")
    return origin, f"{request.param}://localhost:{origin.port}"


def _run(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    ours = ("_proxy", "_CAINFO", "_CA_BUNDLE", "SSL_CERT_FILE")  # what the machine sets would win
    clean = {key: value for key, value in os.environ.items() if not key.endswith((*ours, "_PROXY"))}
    done = subprocess.run(
        list(map(str, arguments)),
        cwd=cwd,
        env=clean | {"HOME": str(cwd)} | (env or {}),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _wheel() -> bytes:
    code = b"ANSWER = 42\n" + os.urandom(400_000).hex().join("#\n").encode()
    files = {
        "lookpkg/__init__.py": code,
        "lookpkg-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: lookpkg\nVersion: 1.0\n",
        "lookpkg-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    lines.append("lookpkg-1.0.dist-info/RECORD,,\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("lookpkg-1.0.dist-info/RECORD", "".join(lines))
    return buffer.getvalue()


def test_pip_installs_from_a_local_index(proxy, site, tmp_path):
    origin, top = site
    wheel = _wheel()
    name = "lookpkg-1.0-py3-none-any.whl"
    link = f'<a href="/files/{name}#sha256={hashlib.sha256(wheel).hexdigest()}">{name}</a>'
    origin.pages["/simple/lookpkg/"] = ("text/html", link.encode())
    origin.pages[f"/files/{name}"] = ("application/zip", wheel)
    _run(
        *(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--isolated",
            "--no-cache-dir",
            "--disable-pip-version-check",
        ),
        *(
            "--proxy",
            proxy.url,
            "--cert",
            proxy.ca,
            "--index-url",
            f"{top}/simple/",
            "--target",
            "got",
            "lookpkg",
        ),
        cwd=tmp_path,
    )
    assert (tmp_path / "got" / "lookpkg" / "__init__.py").read_bytes().startswith(b"ANSWER = 42")


def test_npm_installs_from_a_local_registry(proxy, site, tmp_path):
    npm = needs("npm")
    origin, top = site
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in {
            "package/package.json": json.dumps(
                {"name": "lookpkg", "version": "1.0.0", "main": "index.js"}
            ).encode(),
            "package/index.js": b"module.exports = 42;\n//" + os.urandom(200_000).hex().encode(),
        }.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    tarball = buffer.getvalue()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    version = {
        "name": "lookpkg",
        "version": "1.0.0",
        "dist": {"tarball": f"{top}/lookpkg/-/lookpkg-1.0.0.tgz", "integrity": integrity},
    }
    document = {"name": "lookpkg", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    origin.pages["/lookpkg"] = ("application/json", json.dumps(document).encode())
    origin.pages["/lookpkg/-/lookpkg-1.0.0.tgz"] = ("application/octet-stream", tarball)
    (tmp_path / "package.json").write_text("{}")
    _run(
        *(npm, "install", "--no-audit", "--no-fund", "--registry", f"{top}/", "--proxy", proxy.url),
        *("--https-proxy", proxy.url, "--noproxy", "", "--cafile", proxy.ca, "lookpkg"),
        cwd=tmp_path,
    )
    assert (tmp_path / "node_modules/lookpkg/index.js").read_bytes().startswith(b"module.exports = 42")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_apt_updates_and_downloads_from_a_local_repository(proxy, scheme, tmp_path):
    apt, dpkg = needs("apt-get"), needs("dpkg-deb")
    pages: dict[str, tuple[str, bytes]] = {}

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        kind, body = pages.get(asked.target.replace("/./", "/"), ("text/plain", b""))
        await send(writer, body, f"Content-Type: {kind}", status="200 OK" if body else "404 Not Found")

    context = None
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*make_certificate(tmp_path, "localhost"))
    origin = RawOrigin(reply, context)
    origin.start()
    try:
        _apt(proxy, f"{scheme}://localhost:{origin.port}", pages, apt, dpkg, tmp_path)
    finally:
        origin.close()


def _apt(
    proxy: Proxy, top: str, pages: dict[str, tuple[str, bytes]], apt: str, dpkg: str, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share/lookpkg").mkdir(parents=True)
    (tree / "usr/share/lookpkg/data").write_bytes(os.urandom(500_000))
    control = "Package: lookpkg\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: test\n"
    (tree / "DEBIAN/control").write_text(control)
    _run(dpkg, "--build", tree, "lookpkg.deb", cwd=tmp_path)
    package = (tmp_path / "lookpkg.deb").read_bytes()
    entry = control + (
        f"Filename: ./lookpkg.deb\nSize: {len(package)}\nSHA256: {hashlib.sha256(package).hexdigest()}\n\n"
    )
    packed = gzip.compress(entry.encode())
    release = "Origin: test\nSHA256:\n" + "".join(
        f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n"
        for name, content in (("Packages", entry.encode()), ("Packages.gz", packed))
    )
    pages |= {
        "/repo/Packages": ("text/plain", entry.encode()),
        "/repo/Packages.gz": ("application/gzip", packed),
        "/repo/Release": ("text/plain", release.encode()),
        "/repo/lookpkg.deb": ("application/vnd.debian.binary-package", package),
    }
    for folder in ("state/lists/partial", "cache/archives/partial", "etc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/sources.list").write_text(f"deb [trusted=yes] {top}/repo/ ./\n")
    (tmp_path / "status").write_text("")
    options = [
        part
        for option in (
            f"Dir::State={tmp_path}/state",
            f"Dir::State::status={tmp_path}/status",
            f"Dir::Cache={tmp_path}/cache",
            f"Dir::Etc::sourcelist={tmp_path}/etc/sources.list",
            "Dir::Etc::sourceparts=/dev/null",
            f"Acquire::http::Proxy={proxy.url}",
            f"Acquire::https::Proxy={proxy.url}",
            f"Acquire::https::CAInfo={proxy.ca}",
            "APT::Sandbox::User=",
            "Acquire::Languages=none",
        )
        for part in ("-o", option)
    ]
    _run(apt, *options, "update", cwd=tmp_path)
    _run(apt, *options, "download", "lookpkg", cwd=tmp_path)
    (got,) = tmp_path.glob("lookpkg_*.deb")
    assert got.read_bytes() == package


def test_git_clones(proxy, site, tmp_path):
    git = needs("git")
    origin, top = site
    work = tmp_path / "work"
    work.mkdir()
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    _run(git, "init", "-q", "-b", "main", cwd=work)
    for number in range(30):
        (work / f"file{number}").write_bytes(os.urandom(20_000))
    _run(git, "add", ".", cwd=work)
    _run(git, *author, "commit", "-q", "-m", "all", cwd=work)
    bare = tmp_path / "bare.git"
    _run(git, "clone", "-q", "--bare", work, bare, cwd=tmp_path)
    _run(git, "repack", "-a", "-d", "-q", cwd=bare)
    _run(git, "update-server-info", cwd=bare)
    for path in bare.rglob("*"):
        if path.is_file():
            origin.pages[f"/bare.git/{path.relative_to(bare)}"] = (
                "application/octet-stream",
                path.read_bytes(),
            )
    _run(
        *(git, "-c", f"http.proxy={proxy.url}", "-c", f"http.sslCAInfo={proxy.ca}"),
        *("clone", "-q", f"{top}/bare.git", "clone"),
        cwd=tmp_path,
    )
    for number in range(30):
        assert (tmp_path / f"clone/file{number}").read_bytes() == (work / f"file{number}").read_bytes()


def test_nothing_is_left_in_the_spool(proxy, plain_origin):
    plain_origin.pages["/large.exe"] = ("application/x-msdownload", b"MZ" + os.urandom(8 << 20))
    assert proxy.curl(plain_origin.url("/large.exe")).status == 200
    spool = proxy.state / "spool"
    wait_for(lambda: not spool.exists() or not list(spool.iterdir()), "the spool to be empty again")
    assert shutil.disk_usage(proxy.state).free > 0
