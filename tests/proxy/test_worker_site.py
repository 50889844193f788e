"""The internal site, through the proxy and on the proxy's own address."""

import asyncio
import base64
import hashlib
import re
import socket
import subprocess

import pytest

from proxykit.origin import Asked, send
from secondlook.site.internal_site import InternalSite

INTERNAL = "http://secondlook.internal"


async def hello(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"hello")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/", b"/proxy.pac"),
        ("/healthz", b"ok"),
        ("/filtered", b"this browser is filtered"),
        ("/filtered.json", b'"filtered": true'),
        ("/ca.pem", b"BEGIN CERTIFICATE"),
        ("/proxy.pac", b"FindProxyForURL"),
        ("/back", b"back button"),
    ],
)
def test_pages_through_the_proxy(proxy, curl, scheme, path, content):
    done = curl(proxy, f"{scheme}://secondlook.internal{path}")
    assert content in done.stdout, done


def ask_itself(proxy, host, path, *flags):
    command = ["curl", "-sS", "-i", "-m", "10", "-H", f"Host: {host}:{proxy.port}", *flags]
    return subprocess.run([*command, f"{proxy.url}{path}"], capture_output=True, check=False).stdout


@pytest.mark.parametrize("path", ["/ca.pem", "/proxy.pac", "/healthz"])
@pytest.mark.parametrize("host", ["127.0.0.1", "proxy.example"])
def test_files_on_the_proxy_itself_under_any_name(proxy, path, host):
    assert ask_itself(proxy, host, path).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "lines",
    [
        ["GET /healthz HTTP/1.0"],
        ["GET /healthz HTTP/1.1", "Connection: close"],
        ["GET /healthz HTTP/1.1", "Host: ", "Connection: close"],
        ["GET /healthz?from=balancer HTTP/1.1", "Host: www.example.com", "Connection: close"],
        ["GET /healthz HTTP/1.0", "Host: 192.0.2.1:9"],
        ["HEAD /healthz HTTP/1.0"],
    ],
)
def test_a_balancers_plain_check_is_answered_whatever_host_it_names(proxy, lines):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == (b"" if lines[0].startswith("HEAD") else b"ok\n")


@pytest.mark.parametrize("request_line", ["GET /other HTTP/1.0", "POST /healthz HTTP/1.0"])
def test_nothing_else_is_answered_without_a_host(proxy, request_line):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as sock:
        sock.sendall(f"{request_line}\r\n\r\n".encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "a.localhost", socket.gethostname()])
def test_pages_on_the_proxy_itself_under_its_own_names(proxy, host):
    assert ask_itself(proxy, host, "/").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/", "/blocked/E1", "/filtered.json", "/nothing"])
def test_no_pages_on_the_proxy_itself_under_a_name_that_anybody_may_point_here(proxy, path):
    done = ask_itself(proxy, "rebind.test", path)
    assert done.startswith(b"HTTP/1.1 421")
    assert b"application/problem+json" in done
    done = ask_itself(proxy, "rebind.test", path, "-H", "Accept: text/html")
    assert done.startswith(b"HTTP/1.1 421")
    assert b"text/html" in done
    assert b"http://secondlook.internal/" in done


def test_the_internal_site_in_capitals(proxy, curl):
    for scheme in ("http", "https"):
        assert curl(proxy, f"{scheme}://SECONDLOOK.INTERNAL/healthz").stdout == b"ok\n"
    target = "http://SECONDLOOK.INTERNAL/healthz"
    assert curl(proxy, "--request-target", target, "http://secondlook.internal/").stdout == b"ok\n"


def test_back_runs_its_one_script_and_no_other(proxy, curl):
    done = curl(proxy, "-i", "http://secondlook.internal/back").stdout.decode()
    (script,) = re.findall(r"<script>(.*)</script>", done)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"; script-src 'sha256-{digest}'" in done
    assert "script-src" not in curl(proxy, "-i", "http://secondlook.internal/").stdout.decode()


@pytest.mark.parametrize("tls", [False, True])
def test_back_needs_no_trusted_certificate(proxy, gatekeeper, make_origin, curl, tls):
    gatekeeper.bad.add("127.0.0.1/bad")
    scheme = "https" if tls else "http"
    url = f"{scheme}://127.0.0.1:{make_origin(hello, tls=tls).port}/bad"
    page = curl(proxy, "-H", "Accept: text/html", url).stdout.decode()
    assert 'href="http://secondlook.internal/back"' in page


def test_a_pac_file_names_the_proxy_as_the_client_reached_it(proxy):
    done = subprocess.run(["curl", "-sS", f"{proxy.url}/proxy.pac"], capture_output=True, check=False)
    assert f'"PROXY 127.0.0.1:{proxy.port}"'.encode() in done.stdout


def test_a_pac_file_lets_browsers_go_on_without_the_proxy_where_asked(proxy):
    done = subprocess.run(
        ["curl", "-sS", f"{proxy.url}/proxy.pac?fallback=direct"], capture_output=True, check=False
    )
    assert f'"PROXY 127.0.0.1:{proxy.port}; DIRECT"'.encode() in done.stdout


def test_the_private_key_is_not_served(proxy, curl):
    assert b"PRIVATE" not in curl(proxy, "http://secondlook.internal/ca.pem").stdout


def test_a_block_is_overridden_by_its_own_form_alone(proxy, gatekeeper, make_origin, curl):
    origin = make_origin(hello)
    gatekeeper.bad.add("127.0.0.1/bad")
    url = f"http://127.0.0.1:{origin.port}/bad"
    page = curl(proxy, "-H", "Accept: text/html", url).stdout.decode()
    link = re.search(r'href="(https://secondlook\.internal/blocked/[^"]+)"', page)
    assert link is not None
    assert "token" not in page
    details = curl(proxy, link[1]).stdout.decode()
    token = re.search(r'name="token" value="([^"]+)"', details)
    assert token is not None
    assert curl(proxy, url).stdout != b"hello"  # a GET changed nothing
    assert curl(proxy, "-d", "token=1.forged", link[1]).stdout.startswith(
        b'{"type": "about:blank", "title": "this form is too old'
    )
    forged = curl(proxy, "-d", f"token={token[1]}", "-H", "Origin: http://evil.test", link[1])
    assert b"this form was sent from another site" in forged.stdout
    other = curl(proxy, "-d", f"token={token[1]}", link[1].replace("E1", "E2"))
    assert b"Open for you" not in other.stdout
    assert gatekeeper.exceptions == []
    done = curl(proxy, "-d", f"token={token[1]}", "-H", "Origin: https://secondlook.internal", link[1])
    assert b"Open for you" in done.stdout
    assert gatekeeper.exceptions[0][1:3] == ("127.0.0.1", None)
    assert curl(proxy, url).stdout == b"hello"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("xn--bcher-kva.test", "bücher.test (xn--bcher-kva.test)"),
        ("xn--80ak6aa92e.test", ">xn--80ak6aa92e.test</bdi>"),  # Cyrillic letters that look like "apple"
    ],
)
def test_an_international_name_is_shown_in_both_forms_unless_it_looks_like_another(
    proxy, gatekeeper, curl, scheme, host, shown
):
    gatekeeper.bad.add(f"{host}/")
    page = curl(proxy, "-H", "Accept: text/html", f"{scheme}://{host}/p").stdout.decode()
    assert shown in page
    assert f"{scheme}://{host}/p" in page
    details = curl(proxy, f"{INTERNAL}/blocked/E1").stdout.decode()
    assert shown in details
    assert gatekeeper.events["E1"].url == f"{scheme}://{host}/p"


def test_a_large_form_is_refused_unread(proxy, curl, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"x" * 5_000_000)
    done = curl(
        proxy, "-i", "-H", "Expect:", "--data-binary", f"@{body}", "http://secondlook.internal/blocked/E1"
    )
    assert b" 413" in done.stdout
    assert b"application/problem+json" in done.stdout
    assert b"expected a small form" in done.stdout


def test_a_failure_of_the_site_itself_is_told_like_any_refusal(proxy, curl, monkeypatch):
    async def fail(*_):
        raise RuntimeError("a fault")

    monkeypatch.setattr(InternalSite, "answer", fail)
    page = curl(proxy, "-i", "-H", "Accept: text/html", f"{INTERNAL}/").stdout
    assert b" 500" in page
    assert b"the reason is in its own output" in page
    assert b"Content-Security-Policy" in page
    assert b"application/problem+json" in curl(proxy, "-i", f"{INTERNAL}/").stdout


def test_a_damaged_certificate_is_not_handed_out(proxy, curl):
    proxy.ca.write_bytes(proxy.ca.read_bytes()[:200])
    answer = curl(proxy, "-i", f"{INTERNAL}/ca.pem").stdout
    assert b" 503" in answer
    assert b"a restart of the proxy repairs it" in answer


def test_unknown_pages_and_methods(proxy, curl):
    answer = curl(proxy, "-i", "-d", "{}", "-H", "Content-Type: application/json", f"{INTERNAL}/nothing")
    assert b" 405" in answer.stdout
    assert b"application/problem+json" in answer.stdout
    page = curl(proxy, "-i", "-H", "Accept: text/html", f"{INTERNAL}/nothing").stdout
    assert b"text/html" in page
    assert b"No such page" in page
    assert b" 404" in curl(proxy, "-i", "http://secondlook.internal/nothing").stdout
    assert b" 405" in curl(proxy, "-i", "-X", "DELETE", "http://secondlook.internal/").stdout
    assert b" 404" in curl(proxy, "-i", "http://secondlook.internal/blocked/%2e%2e").stdout


def test_pages_and_documents_are_in_the_language_that_is_asked_for(proxy, gatekeeper, make_origin, curl):
    german = ("-i", "-H", "Accept-Language: de-CH,en;q=0.5")
    gatekeeper.bad.add("127.0.0.1/bad")
    url = f"http://127.0.0.1:{make_origin(hello).port}/bad"
    page = curl(proxy, *german, "-H", "Accept: text/html", url).stdout.decode()
    assert '<html lang="de" dir="ltr">' in page
    assert "content-language: de" in page.lower()
    assert "vary: accept-language" in page.lower()
    details = curl(proxy, *german, f"{INTERNAL}/blocked/E1").stdout.decode()
    assert "Trotzdem für 10 Minuten öffnen" in details
    assert "<dt>Entschieden durch</dt>" in details
    missing = curl(proxy, *german, f"{INTERNAL}/nothing").stdout.decode()
    assert '"title": "diese Seite gibt es nicht"' in missing
    assert "content-language: de" in missing.lower()
    closed = curl(proxy, *german, "-H", "Accept: text/html", "http://127.0.0.1:1/").stdout.decode()
    assert "es lehnt Verbindungen ab." in closed
    arabic = curl(proxy, "-H", "Accept-Language: ar", f"{INTERNAL}/").stdout.decode()
    assert '<html lang="ar" dir="rtl">' in arabic


def test_a_language_and_an_organisation_that_are_set_stand_on_every_page(make_proxy, curl):
    proxy = make_proxy(block_page={"language": "fr", "organisation": "École & Cie", "contact": "a@b.example"})
    for path in ("/", "/filtered", "/back"):
        page = curl(proxy, "-i", "-H", "Accept-Language: de", f"{INTERNAL}{path}").stdout.decode()
        assert '<html lang="fr"' in page
        assert "École &amp; Cie" in page
        assert 'href="mailto:a@b.example"' in page
        assert "vary" not in page.lower()


def test_the_set_up_page_leads_through_every_platform_to_files_that_are_there(proxy, curl):
    page = curl(proxy, f"{INTERNAL}/").stdout.decode()
    for platform in ("Windows", "macOS", "iPhone, iPad", "Android", "Linux", "Firefox", "Command-line tools"):
        assert f"<summary>{platform}</summary>" in page
    links = set(re.findall(r'href="(/[^"]+)"', page))
    assert {"/proxy.pac", "/ca.pem", "/ca.crt", "/ca.mobileconfig", "/ca.mobileconfig?proxy=pac"} == links
    for link in links:
        assert b" 200" in curl(proxy, "-i", f"{INTERNAL}{link}").stdout.splitlines()[0]
    assert f"curl -o second-look-ca.pem http://127.0.0.1:{proxy.port}/ca.pem" in page
