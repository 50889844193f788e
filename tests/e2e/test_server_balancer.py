"""Two servers behind nginx, one of them restarted again and again under load: no check fails."""

import asyncio
import shutil
import signal
import subprocess
import sys
from random import Random

import pytest

from secondlook.config import RemoteServer
from secondlook.lookup.client import ServerClient
from serverkit import full_hash, make_store
from serverkit.valkey import free_port

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
pytestmark = pytest.mark.e2e
HOSTS = [f"evil{number}.example" for number in range(500)]
CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream servers {{ server 127.0.0.1:{first} max_fails=0; server 127.0.0.1:{second} max_fails=0; keepalive
  8; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_next_upstream error timeout http_502 http_503 http_504; proxy_connect_timeout 1s;
    }}
  }}
}}
"""


def start(state, port):
    """Start one server and wait until it answers."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "secondlook",
            "server",
            "run",
            "--state",
            str(state),
            "--listen",
            f"127.0.0.1:{port}",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("serving"):
            return process
    raise AssertionError("the server did not start")


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_restarts_behind_a_load_balancer_fail_no_check(tmp_path):
    store = make_store(tmp_path, HOSTS)
    first, second, port = (free_port() + offset for offset in (0, 1, 2))
    folder = tmp_path / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(
        CONFIGURATION.format(folder=folder, first=first, second=second, port=port)
    )
    servers = [start(store.root, first), start(store.root, second)]
    balancer = subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL
    )
    asked = 0

    async def scene():
        nonlocal asked
        client = ServerClient(RemoteServer(url=f"http://127.0.0.1:{port}", name="balanced"))
        ended = False

        async def ask(seed):
            nonlocal asked
            random = Random(seed)
            while not ended:
                host = random.choice(HOSTS)
                hashed = full_hash(f"{host}/")
                answer = await client.search([hashed[:4], random.randbytes(4)], timeout_s=5.0)
                assert hashed in {each.full_hash for each in answer.answers[hashed[:4]].listed}
                asked += 1

        for _ in range(100):
            try:
                await client.health(timeout_s=1.0)
                break
            except Exception:  # noqa: BLE001 - nginx has not begun to listen
                await asyncio.sleep(0.05)
        load = [asyncio.create_task(ask(seed)) for seed in range(6)]
        for _ in range(4):
            servers[1].send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(servers[1].wait, 20) == 0
            servers[1].stdout.close()
            servers[1] = await asyncio.to_thread(start, store.root, second)
            assert not any(task.done() for task in load)
        ended = True
        await asyncio.gather(*load)
        await client.aclose()

    try:
        asyncio.run(scene())
    finally:
        balancer.terminate()
        balancer.wait(10)
        for server in servers:
            server.terminate()
            server.wait(20)
            server.stdout.close()
    assert asked > 100
