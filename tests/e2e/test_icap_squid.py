"""Downloads through a real Squid that asks by ICAP: a listed file never arrives whole, and curl sees it. 25 s.

One Squid, one agent without a proxy, one origin. Sizes stand at every border: of the preview (1 KiB), of Squid's
buffer (64 KiB), of what is held (1 MiB).
"""

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.processes import (
    Answer,
    Memory,
    Proxy,
    curl,
    json_lines,
    make_certificate,
    needs,
    server_import,
    server_publish,
    wait_for,
)
from icapkit.squid import Squid, squid
from proxykit.nginx import Nginx, nginx
from proxykit.samples import EICAR, ENCODERS, program, prose, zipped

CONFIG = """
mode: none
feeds: []
downloads: {hold_up_to: 1 MiB}
gateway: {enabled: true, icap: {listen: "127.0.0.1:0"}}
"""
LIST = "x-file-mw-8b"
KIB, MIB = 1 << 10, 1 << 20
SIZES = [1, KIB - 1, KIB, KIB + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB - 1, MIB, MIB + 1, 3 * MIB]
TAIL_BYTES = 64 * KIB
LARGE_BYTES = 120 * MIB
GROWTH_BYTES = 32 * MIB
CUT = {18, 56}  # curl: fewer bytes than the length says, or the connection ended


def body_of(size: int, kind: str) -> bytes:
    """A listed file and a clean one of each size begin differently only far inside; the smallest are letters."""
    if size == 1:
        return b"b" if kind == "bad" else b"c"
    return program(size, 1 if kind == "bad" else 2)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("origin")
    encoded = "".join(
        f"location /{name}/ {{ alias {folder}/nginx/www/; add_header Content-Encoding {name}; }} "
        for name in ENCODERS
    )
    certificate = make_certificate(folder, "localhost", "127.0.0.1")
    with nginx(folder / "nginx", *certificate, encoded) as found:
        for size in SIZES:
            for kind in ("bad", "good"):
                (found.root / f"{kind}-{size}.exe").write_bytes(body_of(size, kind))
        for name, encode in ENCODERS.items():
            (found.root / f"{name}.com").write_bytes(encode(EICAR))
        (found.root / "packed.zip").write_bytes(zipped({"docs/readme": b"hi", "eicar.com": EICAR}))
        (found.root / "clean.zip").write_bytes(zipped({"docs/readme": prose(5000)}))
        (found.root / "page.html").write_bytes(b"<html>" + prose(2700))
        (found.root / "long.html").write_bytes(b"<html>" + prose(600_000))
        (found.root / "media.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(2 * MIB))
        with (found.root / "large.exe").open("wb") as file:
            file.write(b"MZ")
            file.truncate(LARGE_BYTES)
        yield found


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("agent")
    state, digests = folder / "state", folder / "digests.txt"
    state.mkdir()
    bad = [EICAR, *(body_of(size, "bad") for size in SIZES)]
    digests.write_text("".join(f"{hashlib.sha256(body).hexdigest()}\n" for body in bad))
    assert all(each["refused"] is None for each in server_import(state / "server", LIST, digests))
    assert server_publish(state / "server")["changed"]
    (folder / "config.yaml").write_text(CONFIG)
    running = Proxy(state, folder / "config.yaml")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(agent: Proxy) -> Iterator[Squid]:
    with squid(agent.facts["icap"], "malware.secondlook.test") as found:
        yield found


def fetch(gateway: Squid, url: str, *arguments: str) -> Answer:
    return curl(url, "-x", gateway.url, *arguments)


@pytest.mark.parametrize("folder", ["", "chunked/"])
@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_every_size(site: Nginx, gateway: Squid, size: int, folder: str) -> None:
    """A listed one is refused or cut, and its address is refused from then on; a clean one comes whole."""
    target = f"{folder}bad-{size}.exe"
    url = f"http://127.0.0.1:{site.plain}/{target}"
    answer, bad = fetch(gateway, url), body_of(size, "bad")
    if answer.status == 403:
        assert answer.headers["x-second-look"].startswith("blocked; ")
    else:
        assert (answer.status, answer.exit in CUT) == (200, True)
        assert bad.startswith(answer.body)
        assert len(answer.body) <= size - (TAIL_BYTES if size > MIB + TAIL_BYTES else 1)
        assert size > 64 * KIB - 2  # smaller ones are always replaced whole
    requests = 0
    if "stage=confirmed" not in answer.headers.get("x-second-look", ""):  # else another test had it refused
        requests = len(wait_for(lambda: site.sent(f"/{target}") or None, "the origin's log"))
    again = fetch(gateway, url)
    assert (again.status, len(site.sent(f"/{target}"))) == (403, requests)
    answer = fetch(gateway, f"http://127.0.0.1:{site.plain}/{folder}good-{size}.exe")
    assert (answer.status, answer.exit, answer.body == body_of(size, "good")) == (200, 0, True)


@pytest.mark.parametrize("target", [*(f"{name}/{name}.com" for name in ENCODERS), "packed.zip"])
def test_what_is_listed_under_an_encoding_or_in_an_archive(site: Nginx, gateway: Squid, target: str) -> None:
    answer = fetch(gateway, f"http://127.0.0.1:{site.plain}/{target}")
    assert (answer.status, answer.headers["x-second-look"].split("; ")[0]) == (403, "blocked")


def test_what_nobody_minds_comes_whole(site: Nginx, gateway: Squid) -> None:
    for name in ("page.html", "long.html", "media.mp4", "clean.zip"):
        answer = fetch(gateway, f"http://127.0.0.1:{site.plain}/{name}")
        assert (answer.status, answer.exit) == (200, 0)
        assert answer.body == (site.root / name).read_bytes()


def test_a_piece_is_asked_for_whole_and_judged(site: Nginx, gateway: Squid) -> None:
    size = 64 * KIB - 1
    url = f"http://127.0.0.1:{site.plain}/{{}}-{size}.exe?range"
    assert fetch(gateway, url.format("bad"), "-r", "10-19").status == 403
    answer = fetch(gateway, url.format("good"), "-r", "10-19")
    assert (answer.status, answer.body == body_of(size, "good")) == (200, True)
    # By a program that has no part of a risky file, as curl may have of the tests beside.
    player = ("-r", "10-19", "-A", "player")
    answer = fetch(gateway, f"http://127.0.0.1:{site.plain}/media.mp4?range", *player)
    assert (answer.status, answer.body) == (206, (site.root / "media.mp4").read_bytes()[10:20])


def test_an_upload_to_what_is_listed_ends_with_its_head(site: Nginx, gateway: Squid, tmp_path: Path) -> None:
    with (tmp_path / "upload").open("wb") as file:
        file.truncate(64 * MIB)
    url = f"http://malware.secondlook.test:{site.plain}/put"
    answer = fetch(gateway, url, "-T", str(tmp_path / "upload"), "-H", "Expect:", "-w", "%{size_upload}")
    assert answer.status == 403
    assert int(answer.body.rpartition(b"}")[2]) < 16 * MIB
    assert site.sent("/put") == []


def test_an_exception_from_the_block_page_holds_for_its_client(site: Nginx, gateway: Squid) -> None:
    page = ("-H", "Accept: text/html")
    url = f"http://malware.secondlook.test:{site.plain}/page.html"
    blocked = fetch(gateway, url, *page)
    assert (blocked.status, b"<html" in blocked.body) == (403, True)
    link = re.search(rb'href="https(://secondlook\.internal/blocked/[^"#]+)', blocked.body)
    assert link is not None
    form = fetch(gateway, "http" + link[1].decode(), *page)
    token = re.search(rb'name="token" value="([^"]+)"', form.body)
    assert token is not None
    done = fetch(gateway, "http" + link[1].decode(), *page, "-d", f"token={token[1].decode()}")
    assert done.status == 200

    def allowed() -> bytes | None:
        answer = fetch(gateway, url, *page)
        return answer.body if answer.status == 200 else None

    assert wait_for(allowed, "the exception in force") == (site.root / "page.html").read_bytes()


def test_the_log_knows_whose_it_was(site: Nginx, agent: Proxy, gateway: Squid) -> None:
    # of its own, as the address of a refused file is refused whatever its query
    (site.root / "whose.exe").write_bytes(body_of(3 * MIB, "bad"))
    url = f"http://127.0.0.1:{site.plain}/chunked/whose.exe"
    fetch(gateway, url)

    def blocked() -> list[dict[str, Any]] | None:
        events = json_lines("log", "--state", agent.state, "--decision", "block")
        return [each for each in events if each["url"] == url and each["kind"] == "blocked"] or None

    (event,) = wait_for(blocked, "the event")
    assert (event["client"], event["class"], event["size"]) == ("127.0.0.1", "download", 3 * MIB)
    assert event["gateway"] == "squid"


def test_a_large_download_leaves_memory_flat(site: Nginx, agent: Proxy, gateway: Squid) -> None:
    memory = Memory(agent.facts["gates"][0])
    answer = fetch(
        gateway, f"http://127.0.0.1:{site.plain}/large.exe", "-o", "/dev/null", "-w", "%{size_download}"
    )
    assert (answer.status, answer.exit, int(answer.body)) == (200, 0, LARGE_BYTES)
    assert memory.grown() <= GROWTH_BYTES


@pytest.mark.parametrize("options", [[], ["-nopreview"], ["-no204"], ["-nopreview", "-no204"], ["-206"]])
def test_another_client_of_icap(site: Nginx, agent: Proxy, tmp_path: Path, options: list[str]) -> None:
    """Debian's c-icap-client: what goes on is the same, however it asks."""
    host, _, port = agent.facts["icap"].rpartition(":")
    asked = [needs("c-icap-client"), "-i", host, "-p", port, "-s", "respmod", *options]

    def send(name: str) -> bytes | None:
        """Return what the client is to use in place of a file; None: the file."""
        out = tmp_path / "out"
        out.unlink(missing_ok=True)
        url = f"http://other.test/{name}?{''.join(options)}"
        done = subprocess.run(
            [*asked, "-f", str(site.root / name), "-o", str(out), "-resp", url],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0
        return out.read_bytes() if out.exists() else None

    for name in ("page.html", "long.html", f"good-{64 * KIB}.exe", f"good-{MIB + 1}.exe"):
        assert send(name) in {None, (site.root / name).read_bytes()}
    refusal = send(f"bad-{64 * KIB}.exe")
    assert refusal is not None
    assert b"problem/blocked" in refusal
    large = send(f"bad-{3 * MIB}.exe")
    assert large is not None
    assert len(large) <= 3 * MIB - TAIL_BYTES
