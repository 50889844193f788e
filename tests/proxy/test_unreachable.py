"""What a client is told where the origin gave no answer, through a real worker. About 2 s."""

import json
import socket

import pytest

from secondlook.proxy import unreachable

BREAKS_OFF = "it closed the connection without an answer"
PAGE = ("-H", "Accept: text/html")


async def hang_up(_asked, writer) -> None:
    writer.close()


@pytest.fixture
def deaf():
    """Give an address where nobody listens, and nobody else will meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize("form", [("--http1.1",), ("--http2",), ("--http1.1", "-d", "x" * 100_000)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_programs_get_a_document(proxy, curl, deaf, scheme, form):
    done = curl(proxy, "-w", "\n%{http_code} %{content_type}", *form, f"{scheme}://{deaf}/")
    document, _, status = done.stdout.rpartition(b"\n")
    assert status == b"502 application/problem+json", done.stderr
    told = json.loads(document)
    assert (
        told["title"]
        == "Second Look did not block this, but 127.0.0.1 cannot be opened: it refuses connections"
    )


def test_browsers_get_a_page_that_runs_nothing(proxy, curl, make_origin):
    origin = make_origin(hang_up, tls=True)
    done = curl(proxy, "-i", *PAGE, f"https://127.0.0.1:{origin.port}/%3Cscript%3E")
    assert b"mitmproxy" not in done.stdout
    assert BREAKS_OFF.encode() in done.stdout
    assert b"default-src 'none'" in done.stdout
    assert b"script" not in done.stdout.partition(b"</style>")[2]


def test_a_certificate_that_does_not_fit(make_proxy, curl, make_origin):
    origin = make_origin(hang_up, tls=True)
    done = curl(make_proxy(mitmproxy={}), f"https://127.0.0.1:{origin.port}/")
    assert b"its certificate does not prove who it is (" in done.stdout
    assert not origin.requests


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (f"[Errno {socket.EAI_NONAME}] Name or service not known", "there is no site of that name"),
        ("server closed connection", BREAKS_OFF),
        ("Certificate verify failed: \x1b[31mexpired", r"who it is (\u{001b}[31mexpired)"),
        ("[Errno 9999] <b>", "it gave no proper answer"),
        ("", "it gave no proper answer"),
    ],
)
def test_the_words(message, why):
    assert unreachable.told("site.test", message).endswith(why)
