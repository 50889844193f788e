"""A server that is asked through a proxy: what the proxy is told, whom it is trusted by, when it is left out."""

import asyncio
import base64
import contextlib
import ssl

from lookup.certificates import Authority
from lookup.serving import failure_of, full_hash
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.lookup.failure import Remedy, ServerFailure

PREFIX = full_hash("bad.test/")[:4]


class Proxy:
    """An upstream proxy: CONNECT and absolute-form requests, both led to one port whatever the host."""

    def __init__(self, port, password=None):
        self._port = port
        self._password = password
        self.requests = []

    async def serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, OSError, asyncio.IncompleteReadError):
            await self._pass_on(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await writer.wait_closed()

    async def _pass_on(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self.requests.append(first)
        if self._password is not None and headers.get("proxy-authorization") != self._password.lower():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        if first.startswith("CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            method, url, version = first.split(" ")
            path = "/" + url.split("/", 3)[3]
            back.write("\r\n".join([f"{method} {path} {version}", *lines]).encode())
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    @staticmethod
    async def _copy(source, sink):
        with contextlib.suppress(ConnectionError, OSError, ssl.SSLError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()


async def start_proxy(stack, proxy, tls=None):
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    stack.callback(listener.close)
    return listener.sockets[0].getsockname()[1]


def test_through_an_upstream_proxy_with_its_own_authority_and_password(
    run, serve, client, authority, tmp_path
):
    async def main(stack):
        server = await serve(stack, tls=authority.server("sps.test")[0])
        proxies = Authority(tmp_path, "proxies")
        password = "Basic " + base64.b64encode(b"me:pw").decode()
        proxy = Proxy(server.port, password)
        port = await start_proxy(stack, proxy, proxies.server()[0])
        through = {
            "url": f"https://127.0.0.1:{port}",
            "user": "me",
            "password": "pw",
            "ca": str(proxies.path),
        }
        own = client(
            stack,
            "https://sps.test:5274",
            ca=str(authority.path),
            upstream_proxy=UpstreamProxySettings.model_validate(through),
        )
        assert set((await own.search([PREFIX], timeout_s=10)).answers) == {PREFIX}
        assert proxy.requests == ["CONNECT sps.test:5274 HTTP/1.1"]
        refused = client(
            stack,
            "https://sps.test:5274",
            ca=str(authority.path),
            upstream_proxy=UpstreamProxySettings.model_validate({**through, "password": "wrong"}),
        )
        failure = await failure_of(refused.search([PREFIX], timeout_s=10))
        assert (failure.outcome, failure.remedy) == (
            "upstream proxy refused: status 407",
            Remedy.CONFIGURATION,
        )
        await own.aclose()

    run(main)


def test_a_proxy_that_looks_into_tls_is_trusted_by_its_own_authority(run, serve, client, tmp_path):
    async def main(stack):
        proxies = Authority(tmp_path, "proxies")
        server = await serve(stack, tls=proxies.server("sps.test")[0])  # signed anew by the proxy
        port = await start_proxy(stack, Proxy(server.port))
        own = client(
            stack,
            "https://sps.test",
            upstream_proxy=UpstreamProxySettings.model_validate(
                {"url": f"http://127.0.0.1:{port}", "ca": str(proxies.path)}
            ),
        )
        assert set((await own.search([PREFIX], timeout_s=10)).answers) == {PREFIX}
        await own.aclose()

    run(main)


def test_plain_http_through_a_proxy_names_the_server_in_full(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        proxy = Proxy(server.port)
        port = await start_proxy(stack, proxy)
        own = client(
            stack,
            "http://sps.test/base",
            insecure=True,
            upstream_proxy=UpstreamProxySettings.model_validate({"url": f"http://127.0.0.1:{port}"}),
        )
        with contextlib.suppress(ServerFailure):
            await own.search([PREFIX], timeout_s=10)
        assert proxy.requests[0].startswith("GET http://sps.test/base/v5/hashes:search?$req=")
        await own.aclose()

    run(main)


def test_a_server_on_this_machine_is_never_asked_through_the_proxy(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        proxy = UpstreamProxySettings.model_validate({"url": "http://127.0.0.1:1"})
        await client(stack, server.url, upstream_proxy=proxy).search([PREFIX], timeout_s=10)

    run(main)
