"""Two servers behind nginx or HAProxy, one restarted again and again under load: no check fails.

Takes about 6 seconds for each balancer; the long form restarts sixty times.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
from random import Random

import pytest

from e2e.processes import needs
from secondlook.config import RemoteServer
from secondlook.lookup.client import ServerClient
from serverkit import full_hash, make_store
from serverkit.ports import free_port

pytestmark = pytest.mark.e2e
HOSTS = [f"evil{number}.example" for number in range(500)]
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream servers {{ server 127.0.0.1:{first} max_fails=0; server 127.0.0.1:{second} max_fails=0; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_next_upstream error timeout http_502 http_503 http_504; proxy_connect_timeout 1s;
    }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 256
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 10s
  option forwardfor
  option redispatch 1
  retries 3
  retry-on all-retryable-errors
frontend agents
  bind 127.0.0.1:{port}
  default_backend servers
backend servers
  balance roundrobin
  option httpchk GET /healthz
  server first 127.0.0.1:{first} check inter 200ms
  server second 127.0.0.1:{second} check inter 200ms
"""
BALANCERS = {  # the settings, and the words that start it in the foreground
    "nginx": (NGINX, lambda folder, settings: ["-p", str(folder), "-c", str(settings)]),
    "haproxy": (HAPROXY, lambda folder, settings: ["-db", "-f", str(settings)]),
}


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
    """Start a load balancer."""
    program = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if program is None:
        needs(name)
    folder.mkdir()
    template, words = BALANCERS[name]
    settings = folder / "settings"
    settings.write_text(template.format(folder=folder, **places))
    return subprocess.Popen(
        [program, *words(folder, settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.parametrize("rounds", [2, pytest.param(60, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", BALANCERS)
def test_restarts_behind_a_load_balancer_fail_no_check(tmp_path, name, rounds):
    store = make_store(tmp_path, HOSTS)
    first, second, port = (free_port() for _ in range(3))
    servers = [start(store.root, first), start(store.root, second)]
    balancer = balance(name, tmp_path / name, first=first, second=second, port=port)
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
                answer = await client.search([hashed[:4], random.randbytes(4)], timeout_s=30.0)
                assert hashed in {each.full_hash for each in answer.answers[hashed[:4]].listed}
                asked += 1

        for _ in range(1200):
            try:
                await client.health(timeout_s=1.0)
                break
            except Exception:  # noqa: BLE001 - the balancer has not begun to listen
                await asyncio.sleep(0.05)
        load = [asyncio.create_task(ask(seed)) for seed in range(6)]
        for _ in range(rounds):
            servers[1].send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(servers[1].wait, 60) == 0
            servers[1].stdout.close()
            servers[1] = await asyncio.to_thread(start, store.root, second)
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
