"""Requests through a real worker: what is blocked is answered at once and its origin hears nothing."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import threading

import psutil
import pytest

from proxykit.origin import Asked, Origin, send

UPLOAD_BYTES = 200 << 20
MARK = re.compile(r"x-second-look: blocked; event=E\d+; stage=pattern; threat=malware", re.IGNORECASE)


async def hello(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"hello " + asked.target.encode(), "Content-Type: text/plain", "X-Second-Look: forged")


@pytest.fixture
def origin(make_origin) -> Origin:
    return make_origin(hello)


@pytest.fixture
def tls_origin(make_origin) -> Origin:
    return make_origin(hello, tls=True)


def test_a_clean_page_passes_and_the_origin_cannot_forge_our_header(proxy, origin, curl):
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/a?b=c")
    assert done.stdout.endswith(b"hello /a?b=c")
    assert b"forged" not in done.stdout


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_clean_https_passes(proxy, tls_origin, curl, http):
    done = curl(proxy, http, f"https://127.0.0.1:{tls_origin.port}/x")
    assert done.stdout == b"hello /x", done.stderr


@pytest.mark.parametrize("stage", ["now", "asked"])
def test_a_blocked_url_never_reaches_its_origin(proxy, gatekeeper, origin, curl, stage):
    gatekeeper.bad.add("127.0.0.1/bad")
    if stage == "asked":
        gatekeeper.slow.add("127.0.0.1/bad")
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/bad")
    assert done.stdout.startswith(b"HTTP/1.1 403")
    assert b"stage=query" in done.stdout if stage == "asked" else MARK.search(done.stdout.decode())
    assert b"no-store" in done.stdout
    assert origin.connections == 0


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_a_blocked_https_url_gets_its_page_inside_the_tunnel(proxy, gatekeeper, tls_origin, curl, http):
    gatekeeper.bad.add("127.0.0.1/")
    done = curl(proxy, http, "-i", "-H", "Accept: text/html", f"https://127.0.0.1:{tls_origin.port}/any")
    text = done.stdout.decode()
    assert " 403" in text
    assert MARK.search(text)
    assert "Go back" in text
    assert tls_origin.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_a_large_upload_is_refused_at_once_in_flat_memory(
    proxy, gatekeeper, origin, tls_origin, tmp_path, scheme, http
):
    gatekeeper.bad.add("127.0.0.1/up")
    target = origin if scheme == "http" else tls_origin
    body = tmp_path / "body"
    with body.open("wb") as file:
        file.truncate(UPLOAD_BYTES)
    before = psutil.Process().memory_info().rss
    done = subprocess.run(
        [
            *("curl", "-sS", "-m", "60", http, "-x", proxy.url, "--cacert", str(proxy.ca), "-o", "/dev/null"),
            *("-w", "%{http_code} %{size_upload} %{time_starttransfer}", "-H", "Expect:", "-T", str(body)),
            f"{scheme}://127.0.0.1:{target.port}/up",
        ],
        capture_output=True,
        check=False,
    )
    assert done.stdout.startswith(b"403"), (done.stdout, done.stderr)
    assert int(done.stdout.split()[1]) < UPLOAD_BYTES // 2
    assert psutil.Process().memory_info().rss - before < 48 << 20
    assert target.connections == 0


def test_an_allowed_upload_streams_to_the_origin(proxy, origin, tmp_path, curl):
    body = tmp_path / "body"
    body.write_bytes(b"x" * (3 << 20))
    done = curl(proxy, "-T", str(body), f"http://127.0.0.1:{origin.port}/up")
    assert done.stdout == b"hello /up"
    assert origin.requests[0].body_bytes == 3 << 20


def test_an_upload_without_a_length_reaches_a_plain_origin_from_http2(proxy, tls_origin, tmp_path, curl):
    body = tmp_path / "body"
    body.write_bytes(b"x" * 300_000)
    done = curl(
        proxy,
        "--http2",
        "-T",
        "-",
        f"https://127.0.0.1:{tls_origin.port}/up",
        "--data-binary",
        f"@{body}",
        "-XPOST",
    )
    assert b"hello" in done.stdout or done.returncode != 0
    done = subprocess.run(
        [
            *("curl", "-sS", "-m", "20", "--http2", "-x", proxy.url, "--cacert", str(proxy.ca), "-T", "-"),
            f"https://127.0.0.1:{tls_origin.port}/up",
        ],
        input=body.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"hello /up", done.stderr
    assert tls_origin.requests[-1].body_bytes == 300_000


def test_keep_alive_survives_a_block(proxy, gatekeeper, origin, curl):
    gatekeeper.bad.add("127.0.0.1/bad")
    url = f"http://127.0.0.1:{origin.port}"
    done = curl(
        proxy, "-w", "%{num_connects} ", "-o", "/dev/null", "-o", "/dev/null", f"{url}/bad", f"{url}/good"
    )
    assert done.stdout.split() == [b"1", b"0"]


def test_head_of_a_blocked_url_has_no_body(proxy, gatekeeper, origin, curl):
    gatekeeper.bad.add("127.0.0.1/bad")
    done = curl(proxy, "-I", f"http://127.0.0.1:{origin.port}/bad")
    assert done.returncode == 0
    assert done.stdout.startswith(b"HTTP/1.1 403")


def test_a_front_that_hides_the_true_host_is_checked_under_both_names(proxy, gatekeeper, origin, curl):
    gatekeeper.bad.add("evil.test/")
    done = curl(proxy, "-i", "-H", "Host: evil.test", f"http://127.0.0.1:{origin.port}/")
    assert done.stdout.startswith(b"HTTP/1.1 403")
    assert origin.connections == 0


@pytest.mark.parametrize(
    ("headers", "content_type", "empty"),
    [
        (["Accept: text/html,*/*"], "text/html; charset=utf-8", False),
        (["Sec-Fetch-Dest: document"], "text/html; charset=utf-8", False),
        (["Sec-Fetch-Dest: iframe"], "text/html; charset=utf-8", False),
        (["Sec-Fetch-Dest: image"], "image/png", True),
        (["Accept: image/avif,image/webp,*/*;q=0.8"], "image/png", True),
        (["Sec-Fetch-Dest: script"], "text/javascript", True),
        (["Sec-Fetch-Dest: style"], "text/css", True),
        (["Sec-Fetch-Dest: empty"], "application/problem+json", False),
        (["Accept: application/json"], "application/problem+json", False),
        ([], "application/problem+json", False),
    ],
)
def test_a_refusal_is_typed_to_its_request(proxy, gatekeeper, origin, curl, headers, content_type, empty):
    gatekeeper.bad.add("127.0.0.1/bad")
    flags = [part for header in headers for part in ("-H", header)]
    done = curl(proxy, "-i", *flags, f"http://127.0.0.1:{origin.port}/bad")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert f"Content-Type: {content_type}".encode() in head
    assert (body == b"") is empty
    if content_type.endswith("problem+json"):
        document = json.loads(body)
        assert document["status"] == 403
        assert document["event"] in document["instance"]


@pytest.mark.parametrize("fault", ["subject", "now", "check"])
@pytest.mark.parametrize("policy", ["flag", "block"])
def test_a_fault_in_a_check_never_opens_the_door(proxy, gatekeeper, origin, curl, fault, policy):
    gatekeeper.faults.add(fault)
    gatekeeper.slow.add("127.0.0.1/x")
    gatekeeper.unverifiable_blocks = policy == "block"
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/x")
    if policy == "block" or fault == "subject":  # without a subject nothing can be flagged
        assert done.stdout.startswith(b"HTTP/1.1 403"), done.stdout
        assert origin.connections == 0
    else:
        assert done.stdout.endswith(b"hello /x")
        assert [how for how, *_ in gatekeeper.seen if how == "unverifiable"] == ["unverifiable"]


def test_a_fault_in_the_policy_too_is_a_refusal(proxy, gatekeeper, origin, curl):
    gatekeeper.faults |= {"now", "unverifiable"}
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/x")
    assert done.stdout.startswith(b"HTTP/1.1 403")
    assert b"stage=unverifiable" in done.stdout
    assert origin.connections == 0


def test_many_requests_at_once_each_get_their_own_answer(proxy, gatekeeper, origin, curl):
    gatekeeper.bad.add("127.0.0.1/3")
    gatekeeper.slow |= {f"127.0.0.1/{n}" for n in range(0, 20, 2)}
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/{number}").stdout

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, answer in answers.items():
        assert answer.startswith(b"HTTP/1.1 403") if number == 3 else answer.endswith(b"hello /%d" % number)


def test_http_1_0_clients_are_served(proxy, origin, curl):
    done = curl(proxy, "--http1.0", f"http://127.0.0.1:{origin.port}/old")
    assert done.stdout == b"hello /old"


def test_what_is_blocked_stays_blocked_when_its_page_cannot_be_made(
    proxy, gatekeeper, origin, curl, monkeypatch
):
    from secondlook.refusal.refusal import Refusals

    def broken(*_: object) -> None:
        raise RuntimeError("injected fault in the page")

    monkeypatch.setattr(Refusals, "_make", broken)
    gatekeeper.bad.add("127.0.0.1/bad")
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/bad")
    assert done.stdout.startswith(b"HTTP/1.1 403")
    assert b"stage=pattern" in done.stdout
    assert origin.connections == 0


@pytest.mark.parametrize("listed", [False, True])
def test_an_upload_waits_outside_while_its_url_is_asked_about(proxy, gatekeeper, origin, listed):
    gatekeeper.slow.add("127.0.0.1/up")
    gatekeeper.opened = threading.Event()
    if listed:
        gatekeeper.bad.add("127.0.0.1/up")
    body = memoryview(bytes(64 << 20))
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.5) as client:
        host = f"127.0.0.1:{origin.port}"
        client.sendall(
            f"POST http://{host}/up HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < len(body):
                sent += client.send(body[sent : sent + (1 << 16)])
        assert sent < len(body) // 2  # the buffers of the sockets, and little more
        gatekeeper.opened.set()
        client.settimeout(60)
        if listed:
            assert client.recv(1000).startswith(b"HTTP/1.1 403")
            return
        client.sendall(body[sent:])
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert origin.requests[0].body_bytes == len(body)
