"""Two servers behind nginx or HAProxy as `docs/servers.md` shows them, one restarted again and again under load: no check fails.

Takes about 6 seconds for each balancer; the long form restarts sixty times.
"""

import asyncio
import contextlib
import shutil
import signal
import subprocess
from random import Random

import pytest

from e2e.prepared import Prepared
from e2e.processes import SECONDLOOK, needs
from e2e.shown import Page, replaced
from secondlook.config.query import RemoteServer
from secondlook.lookup.client import ServerClient
from secondlook.lookup.failure import ServerFailure
from serverkit import full_hash, make_store
from serverkit.ports import free_port

pytestmark = pytest.mark.e2e
HOSTS = [f"evil{number}.example" for number in range(500)]
PAUSE_S = (
    0.02  # of each client between two requests: some are always under way, and no processor is full of them
)
PAGE = Page("servers.md")
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  include shown;
}}
"""


def nginx(folder, port, first, second):
    """Return the words that start nginx with the lines of the page."""
    lines = replaced(
        PAGE.shown("", "listen 443 ssl;"),
        ("one.office.example:5274", f"127.0.0.1:{first}"),
        ("two.office.example:5274", f"127.0.0.1:{second}"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
    )
    (folder / "shown").write_text(lines)
    (folder / "settings").write_text(NGINX.format(folder=folder))
    return ["-p", str(folder), "-c", str(folder / "settings")]


def haproxy(folder, port, first, second):
    """Return the words that start HAProxy with the lines of the page."""
    lines = replaced(
        PAGE.shown("", "frontend lists"),
        ("server one one.office.example:5274", f"server one 127.0.0.1:{first}"),
        ("server two two.office.example:5274", f"server two 127.0.0.1:{second}"),
        ("bind :443", f"bind 127.0.0.1:{port}"),
    )
    (folder / "settings").write_text(f"global\n  maxconn 256\n{lines}")
    return ["-db", "-C", str(folder), "-f", "settings"]


BALANCERS = {"nginx": nginx, "haproxy": haproxy}


def certify(folder):
    """Make the page's certificate, for this machine too, and the file that HAProxy wants."""
    words = replaced(
        PAGE.shown("sh", "openssl req"), ("DNS:two.office.example", "DNS:two.office.example,IP:127.0.0.1")
    )
    subprocess.run(words, shell=True, cwd=folder, check=True, capture_output=True)
    (folder / "lists-and-key.pem").write_text(
        (folder / "lists.pem").read_text() + (folder / "lists.key").read_text()
    )


def start(state, port, certificates):
    """Start one server and wait until it answers."""
    process = Prepared(
        [
            *SECONDLOOK,
            "server",
            "run",
            "--state",
            str(state),
            "--listen",
            f"127.0.0.1:{port}",
            *("--set", f"tls.cert={certificates}/lists.pem", "--set", f"tls.key={certificates}/lists.key"),
            *("--set", "limits.requests=100000", "--set", "limits.burst=100000"),  # one machine asks for all
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("serving"):
            return process
    process.kill()
    raise AssertionError(f"the server did not start: {process.wait()}")


def balance(name, folder, **places):
    """Start a load balancer by the lines that the page shows for it."""
    program = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if program is None:
        needs(name)
    words = BALANCERS[name](folder, **places)
    return subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def listening(client):
    """Wait until a balancer answers."""
    for _ in range(1200):
        try:
            return await client.health(timeout_s=1.0)
        except Exception:  # noqa: BLE001 - the balancer has not begun to listen
            await asyncio.sleep(0.05)
    raise AssertionError("the balancer does not answer")


def test_nginx_notices_a_server_that_hangs_though_no_client_waits_for_it(tmp_path):
    """It has no checks; a client that gave up told it nothing, and every search met the hung server again."""
    store = make_store(tmp_path, HOSTS)
    first, second, port = (free_port() for _ in range(3))
    certify(tmp_path)
    servers = [start(store.root, each, tmp_path) for each in (first, second)]
    balancer = balance("nginx", tmp_path, first=first, second=second, port=port)
    hashed = full_hash(f"{HOSTS[0]}/")

    async def scene():
        client = ServerClient(
            RemoteServer(url=f"https://127.0.0.1:{port}", name="balanced", ca=tmp_path / "lists.pem")
        )
        await listening(client)
        servers[1].send_signal(signal.SIGSTOP)
        for _ in range(120):  # as impatient as a check is
            with contextlib.suppress(ServerFailure):
                await client.search([hashed[:4]], timeout_s=0.5)
            if "upstream timed out" in (tmp_path / "error.log").read_text():
                break
        else:
            raise AssertionError("nginx has not noticed it")
        answer = await client.search([hashed[:4]], timeout_s=30.0)
        assert hashed in {each.full_hash for each in answer.answers[hashed[:4]].listed}
        await client.aclose()

    try:
        asyncio.run(scene())
    finally:
        for process in (balancer, *servers):
            process.kill()
            process.wait(60)
        for server in servers:
            server.stdout.close()


@pytest.mark.parametrize("rounds", [2, pytest.param(60, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", BALANCERS)
def test_restarts_behind_a_load_balancer_fail_no_check(tmp_path, name, rounds):
    store = make_store(tmp_path, HOSTS)
    first, second, port = (free_port() for _ in range(3))
    folder = tmp_path / name
    folder.mkdir()
    certify(folder)
    servers = [start(store.root, first, folder), start(store.root, second, folder)]
    # HAProxy counts a server that it found away for away until it answered a few times
    balancer = balance(name, folder, first=first, second=second, port=port)
    asked = 0

    async def scene():
        nonlocal asked
        client = ServerClient(
            RemoteServer(url=f"https://127.0.0.1:{port}", name="balanced", ca=folder / "lists.pem")
        )
        ended = False

        async def ask(seed):
            nonlocal asked
            random = Random(seed)
            while not ended:
                host = random.choice(HOSTS)
                hashed = full_hash(f"{host}/")
                answer = await client.search([hashed[:4], random.randbytes(4)], timeout_s=30.0)
                assert hashed in {each.full_hash for each in answer.answers[hashed[:4]].listed}
                asked += 1
                await asyncio.sleep(PAUSE_S)

        await listening(client)
        load = [asyncio.create_task(ask(seed)) for seed in range(6)]
        for _ in range(rounds):
            servers[1].send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(servers[1].wait, 60) == 0
            servers[1].stdout.close()
            servers[1] = await asyncio.to_thread(start, store.root, second, folder)
            before = asked
            while asked < before + 50 and not any(task.done() for task in load):
                await asyncio.sleep(0.01)
            assert not any(task.done() for task in load), [task.exception() for task in load if task.done()]
        ended = True
        await asyncio.gather(*load)
        await client.aclose()

    try:
        asyncio.run(scene())
    finally:
        balancer.terminate()
        balancer.wait(60)
        for server in servers:
            server.terminate()
            server.wait(60)
            server.stdout.close()
    assert asked > 100
