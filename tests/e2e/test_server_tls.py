"""A server on the network: nothing without a token, TLS with certificate files, driven by a real agent."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from e2e.processes import Server, command, curl, make_certificate, server_import, server_publish, wait_for
from secondlook.config.query import RemoteServer
from secondlook.ground.errors import ServiceError
from secondlook.lookup.client import ServerClient
from serverkit import full_hash

TOKEN = "correct horse battery staple"
EVERYWHERE = "0.0.0.0"  # a port of the system's choice, on every address of this machine


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A server's folder with one entry."""
    listed = tmp_path / "listed.txt"
    listed.write_text("evil.example\n")
    server_import(tmp_path / "server", "mw-8b", listed)
    server_publish(tmp_path / "server")
    return tmp_path / "server"


@pytest.mark.parametrize("wanted", [[], ["tokens: false"]], ids=["unsaid", "switched off"])
def test_off_loopback_a_token_is_required_unless_it_is_switched_off(
    published, start_server, tmp_path, wanted
):
    with socket.create_server((EVERYWHERE, 0)) as taken:  # what gets as far as listening fails at this
        port = taken.getsockname()[1]
        config = tmp_path / "server.yaml"
        config.write_text("\n".join([f"listen: '{EVERYWHERE}:{port}'", f"state: {published}", *wanted]))
        done = command("server", "run", "-c", config, check=False)
    assert "Traceback" not in done.stderr
    if wanted:
        assert done.returncode == 1
        assert str(port) in done.stderr
    else:
        assert done.returncode == 2
        assert "token" in done.stderr


def test_an_agent_with_the_authority_and_the_token_is_served_and_no_other(published, start_server, tmp_path):
    certificate, key = make_certificate(tmp_path, "127.0.0.1", "localhost")
    server: Server = start_server(
        published,
        "--set", f"tls={json.dumps({'cert': str(certificate), 'key': str(key)})}",
        "--set", f"tokens={json.dumps([TOKEN])}",
        address=EVERYWHERE,
    )  # fmt: skip
    assert server.url.startswith("https://")
    url = f"https://127.0.0.1:{server.port}"

    async def ask(**options: object) -> list[str]:
        client = ServerClient(RemoteServer(url=url, name="office", **options))
        evil = full_hash("evil.example/")
        try:
            found = await client.search([evil[:4]], timeout_s=10.0)
            assert {each.full_hash for each in found.answers[evil[:4]].listed} == {evil}
            return [each.name for each in await client.hash_lists()]
        finally:
            await client.aclose()

    assert "mw-8b" in asyncio.run(ask(ca=certificate, token=TOKEN))
    for fault, options in (
        ("40[13]|token|key", {"ca": certificate}),
        ("40[13]|token|key", {"ca": certificate, "token": TOKEN[:-1]}),
        ("certificate", {"token": TOKEN}),
    ):
        with pytest.raises(ServiceError, match=fault):
            asyncio.run(ask(**options))
    for path in ("/v5/hashLists", "/published/current"):
        assert curl(f"{url}{path}", "--cacert", str(certificate)).status in {401, 403}
    assert curl(f"http://127.0.0.1:{server.port}/healthz").status in {0, 400}


def test_a_proxy_uses_such_a_server(published, start_server, start_proxy, tmp_path, plain_origin):
    listed = tmp_path / "more.txt"
    listed.write_text(plain_origin.url("/offer/setup") + "\n")
    server_import(published, "mw-8b", listed)
    server_publish(published)
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    server: Server = start_server(
        published,
        "--set", f"tls={json.dumps({'cert': str(certificate), 'key': str(key)})}",
        "--set", f"tokens={json.dumps([TOKEN])}",
    )  # fmt: skip
    proxy = start_proxy(
        "workers: 1\nservers:\n  embedded: false\n"
        f"  intranet: [{{url: '{server.url}', ca: '{certificate}', token: '{TOKEN}'}}]\n"
    )
    assert proxy.curl(plain_origin.url("/offer/setup")).status == 403
    assert proxy.curl(plain_origin.url("/harmless")).status == 200
    wait_for(lambda: proxy.json("queue", "list") == [], "the queue to be empty")
