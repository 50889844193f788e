"""One server: what is sent, over which connection, and what is refused."""

import asyncio
import base64
import contextlib
import logging

import h2.config
import h2.connection
import h2.events
import pytest

from lookup.certificates import Authority
from lookup.serving import V5Server, failure_of, full_hash, until
from secondlook.core.answer import MOST_PREFIXES
from secondlook.lookup.client import Health
from secondlook.lookup.failure import Remedy, ServerFailure
from secondlook.wire import safebrowsing_pb2 as pb

PREFIX = full_hash("bad.test/")[:4]


def test_one_connection_is_kept_and_the_request_is_what_the_protocol_wants(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        own = client(stack, server.url + "/", token="let me in")
        for _ in range(5):
            result = await own.search([PREFIX], timeout_s=10)
            assert set(result.answers) == {PREFIX}
        assert server.connections == 1
        target, headers = server.requests[0]
        request = base64.urlsafe_b64encode(pb.SearchHashesRequest(hash_prefixes=[PREFIX]).SerializeToString())
        assert target == f"/v5/hashes:search?$req={request.decode()}&alt=proto"
        assert headers["authorization"] == "bearer let me in"  # lower-cased by the test server
        assert headers["user-agent"].startswith("secondlook ")
        assert headers["host"] == f"127.0.0.1:{server.port}"
        assert headers["accept-encoding"] == "identity"
        assert "cookie" not in headers

    run(main)


def test_a_server_below_a_path(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        with contextlib.suppress(ServerFailure):
            await client(stack, f"{server.url}/reputation/").search([PREFIX], timeout_s=10)
        assert server.requests[0][0].startswith("/reputation/v5/hashes:search?")

    run(main)


def test_a_thousand_prefixes_fit_into_one_request_line_and_one_more_is_refused(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        own = client(stack, server.url)
        prefixes = [n.to_bytes(4) for n in range(MOST_PREFIXES)]
        assert len((await own.search(prefixes, timeout_s=10)).answers) == MOST_PREFIXES
        assert len(server.requests[0][0]) < 8100  # nginx takes request lines of 8 KiB
        with pytest.raises(ValueError, match="1001"):
            await own.search([*prefixes, b"more"], timeout_s=10)
        with pytest.raises(ValueError, match="0 prefixes"):
            await own.search([], timeout_s=10)

    run(main)


def test_the_key_of_google_goes_with_the_request_and_into_no_log(run, serve, client, caplog):
    async def main(stack):
        server = await serve(stack)
        google = client(stack, server.url, kind="google", key="AIza+secret", name="gsb")
        with caplog.at_level(logging.DEBUG):
            await google.search([PREFIX], timeout_s=10)
            for mood in ("close", 403, 500, "noise"):
                server.behave = mood
                failure = await failure_of(google.search([PREFIX], timeout_s=10))
                caplog.records[-1:] = []
                assert "secret" not in f"{failure} {failure!r} {failure.__cause__} {google!r}"
        assert server.requests[0][0].endswith("&key=AIza%2Bsecret")
        assert caplog.text
        assert "secret" not in caplog.text
        assert (google.source, google.name) == ("google", "gsb")

    run(main)


def test_an_own_servers_publisher_key_is_never_sent(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        await client(stack, server.url, key="ab" * 32).search([PREFIX], timeout_s=10)
        assert "key=" not in server.requests[0][0]

    run(main)


def test_tls_with_an_own_authority_and_without(run, serve, client, authority, tmp_path):
    async def main(stack):
        context, _ = authority.server()
        server = await serve(stack, tls=context)
        await client(stack, server.url, ca=str(authority.path)).search([PREFIX], timeout_s=10)
        unknown = await failure_of(client(stack, server.url).search([PREFIX], timeout_s=10))
        assert unknown.remedy is Remedy.CONFIGURATION
        assert unknown.outcome.startswith("certificate not trusted")
        other = Authority(tmp_path, "another")
        wrong = await failure_of(client(stack, server.url, ca=str(other.path)).search([PREFIX], timeout_s=10))
        assert wrong.remedy is Remedy.CONFIGURATION
        missing = await failure_of(
            client(stack, server.url, ca=str(tmp_path / "missing.pem")).search([PREFIX], timeout_s=10)
        )
        assert missing.remedy is Remedy.CONFIGURATION
        wrong_name = await serve(stack, tls=authority.server("elsewhere.test")[0])
        failure = await failure_of(
            client(stack, wrong_name.url, ca=str(authority.path)).search([PREFIX], timeout_s=10)
        )
        assert failure.outcome.startswith("certificate not trusted")
        plain = await serve(stack)
        failure = await failure_of(
            client(stack, plain.url.replace("http:", "https:"), ca=str(authority.path)).search(
                [PREFIX], timeout_s=2
            )
        )
        assert failure.remedy is Remedy.ELSEWHERE

    run(main)


def test_an_authority_that_was_renewed_is_believed_with_the_next_connection(run, serve, client, tmp_path):
    """And the one before it no more: the file is what counts, not what it held when the client was made."""

    async def main(stack):
        old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
        ca = tmp_path / "ca.pem"
        ca.write_bytes(old.path.read_bytes())
        former, renewed = [await serve(stack, tls=each.server()[0]) for each in (old, new)]
        before = client(stack, former.url, ca=str(ca))
        after = client(stack, renewed.url, ca=str(ca))
        await before.search([PREFIX], timeout_s=10)
        assert (await failure_of(after.search([PREFIX], timeout_s=10))).outcome.startswith("certificate not")
        ca.write_bytes(new.path.read_bytes())
        await after.search([PREFIX], timeout_s=10)
        await before.search([PREFIX], timeout_s=10)  # over the connection that stands
        await former.stop()
        await former.start()
        assert (await failure_of(before.search([PREFIX], timeout_s=10))).outcome.startswith("certificate not")

    run(main)


def test_a_handshake_that_is_given_up_leaves_no_connection_behind(run, client):
    async def main(stack):
        opened, closed = [], []

        async def say_nothing(reader, writer):
            opened.append(1)
            while await reader.read(4096):
                pass
            closed.append(1)
            writer.close()

        listener = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        stack.callback(listener.close)
        own = client(stack, f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        for attempt in range(3):
            asked = asyncio.ensure_future(own.search([PREFIX], timeout_s=30))
            await until(lambda attempt=attempt: len(opened) > attempt)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        assert (await failure_of(own.search([PREFIX], timeout_s=0.1))).outcome == "timeout"
        await until(lambda: len(closed) == len(opened) == 4)

    run(main)


class Http2Server:
    """Answers every stream of an HTTP/2 connection with an empty search answer, after all have come."""

    def __init__(self, expected):
        self.expected = expected
        self.paths = []
        self.connections = 0

    async def serve(self, reader, writer):
        self.connections += 1
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        waiting = []
        with contextlib.suppress(ConnectionError, OSError):
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        self.paths.append(dict(event.headers)[b":path"].decode())
                    elif isinstance(event, h2.events.StreamEnded):
                        waiting.append(event.stream_id)
                if len(waiting) >= self.expected:
                    for stream in waiting:
                        connection.send_headers(
                            stream, [(":status", "200"), ("content-type", "application/x-protobuf")]
                        )
                        connection.send_data(stream, bytes.fromhex("120308ac02"), end_stream=True)
                    waiting.clear()
                writer.write(connection.data_to_send())
                await writer.drain()
        writer.close()


def test_http2_where_it_is_offered_carries_requests_side_by_side(run, client, authority):
    async def main(stack):
        there = Http2Server(expected=1)
        context, _ = authority.server(alpn=("h2", "http/1.1"))
        listener = await asyncio.start_server(there.serve, "127.0.0.1", 0, ssl=context)
        stack.push_async_callback(listener.wait_closed)
        stack.callback(listener.close)
        url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        own = client(stack, url, ca=str(authority.path))
        authority.path.write_bytes(authority.path.read_bytes() * 2)  # what is read anew offers it as well
        await own.search([PREFIX], timeout_s=10)
        there.expected = 4  # none is answered before all four have come
        await asyncio.gather(*(own.search([n.to_bytes(4)], timeout_s=10) for n in range(4)))
        assert there.connections == 1
        assert len(there.paths) == 5
        assert there.paths[0].startswith("/v5/hashes:search?$req=")
        await own.aclose()

    run(main)


def test_lists_their_pages_and_health(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        for name in ("mw-8b", "se-8b", "uws-8b", "gc-32b", "x-file-mw-8b"):
            server.lists[name] = pb.HashList(name=name, version=name.encode())
        own = client(stack, server.url)
        assert [found.name for found in await own.batch_get(["se-8b", "mw-8b"], [b"v1", b""])] == [
            "se-8b",
            "mw-8b",
        ]
        assert [found.name for found in await own.hash_lists()] == sorted(server.lists)
        assert await own.health() == Health(serving=True, generation="000012")
        assert await own.generation() == "000012"
        for page in (b"ok generation=12\nold\x1b\nbroken\n", b"ok generation=12; old\x1b; broken\n"):
            server.health = page
            assert await own.health() == Health(True, "12", "old\\u{001b}; broken")
        request = pb.BatchGetHashListsRequest.FromString(
            base64.urlsafe_b64decode(server.requests[0][0].split("$req=")[1].split("&")[0])
        )
        assert list(request.version) == [b"v1"]  # an empty one says nothing
        server.lists["mw-8b"] = pb.HashList(name="other")
        assert (
            await failure_of(own.batch_get(["mw-8b"]))
        ).outcome == "bad answer: a list that was not asked for"
        server.behave = 503
        assert await own.health() == Health(serving=False, generation=None)
        server.behave = 500
        assert (await failure_of(own.health())).outcome == "status 500"
        server.behave = "html"
        assert (await failure_of(own.health())).outcome == "bad answer: not a health page"

    run(main)


def test_pages_without_end_and_lists_without_bounds_are_refused(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        server.lists["mw-8b"] = pb.HashList(name="mw-8b", version=bytes(2 << 20))
        own = client(stack, server.url)
        assert (await failure_of(own.batch_get(["mw-8b"]))).outcome == "bad answer: longer than 1048576 bytes"
        roomy = client(stack, server.url, max_lists_bytes=4 << 20)
        assert (await roomy.batch_get(["mw-8b"]))[0].version == bytes(2 << 20)  # parsed off the loop
        server._body = lambda *_: pb.ListHashListsResponse(next_page_token="again").SerializeToString()
        assert (await failure_of(own.hash_lists())).outcome == "bad answer: pages of lists without end"

    run(main)


@pytest.mark.parametrize(
    ("mood", "outcome", "remedy"),
    [
        ("hang", "timeout", Remedy.ELSEWHERE),
        ("close", "bad answer: broken or cut off", Remedy.ELSEWHERE),
        ("cut", "bad answer: broken or cut off", Remedy.ELSEWHERE),
        ("noise", "bad answer: broken or cut off", Remedy.ELSEWHERE),
        ("html", "bad answer: content type text/html", Remedy.ELSEWHERE),
        ("garbage", "bad answer: not a protobuf message", Remedy.ELSEWHERE),
        ("no_duration", "bad answer: no cache duration", Remedy.ELSEWHERE),
        ("huge", "bad answer: longer than 4194304 bytes", Remedy.ELSEWHERE),
        ("endless", "bad answer: longer than 4194304 bytes", Remedy.ELSEWHERE),
        ("gzip", "bad answer: compressed without being asked for", Remedy.ELSEWHERE),
        (302, "status 302: redirects are not followed", Remedy.CONFIGURATION),
        (401, "status 401", Remedy.CONFIGURATION),
        (429, "status 429", Remedy.BACK_OFF),
        (500, "status 500", Remedy.ELSEWHERE),
    ],
)
def test_each_way_of_failing_is_named(run, serve, client, mood, outcome, remedy):
    async def main(stack):
        server = await serve(stack)
        server.behave = mood
        own = client(stack, server.url)
        failure = await failure_of(own.search([PREFIX], timeout_s=0.3 if mood == "hang" else 10))
        assert (failure.outcome, failure.remedy) == (outcome, remedy)
        server.behave = "answer"
        assert set((await own.search([PREFIX], timeout_s=10)).answers) == {PREFIX}

    run(main)


def test_hashes_of_prefixes_that_nobody_asked_for_and_broken_ones_are_dropped(run, serve, client):
    async def main(stack):
        server = await serve(stack)
        server.list("bad.test/")
        own = client(stack, server.url)
        server.behave = "unasked"
        result = await own.search([b"abcd"], timeout_s=10)
        assert result.answers[b"abcd"].listed == ()
        assert result.dropped_unasked == 1
        server.behave = "short_hash"
        result = await own.search([PREFIX], timeout_s=10)
        assert len(result.answers[PREFIX].listed) == 1
        assert result.dropped_malformed == 1

    run(main)


def test_a_refused_connection_and_an_unknown_name(run, client):
    async def main(stack):
        server = V5Server()
        await server.start()
        await server.stop()
        failure = await failure_of(client(stack, server.url).search([PREFIX], timeout_s=10))
        assert failure.outcome == "refused"
        failure = await failure_of(
            client(stack, "https://no-such-host.invalid").search([PREFIX], timeout_s=10)
        )
        assert failure.outcome in {"name not found", "timeout"}

    run(main)
