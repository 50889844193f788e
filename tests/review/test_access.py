"""Who gets in: links that work once, cookies, bearer tokens, Host, Origin and CSRF."""

import asyncio
import subprocess
from urllib.parse import urljoin

import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from secondlook.review.access import MAX_API_BYTES, MAX_FORM_BYTES, Gate
from secondlook.review.app import host_names
from secondlook.review.session import COOKIE, Doorkeeper, session_of

ORIGIN = "http://127.0.0.1:9000"


@pytest.fixture
def door():
    return Doorkeeper(b"k" * 32)


@pytest.fixture
def client(door):
    async def echo(request: Request):
        session = session_of(request)
        form = dict(await request.form()) if request.method == "POST" else {}
        return JSONResponse({"csrf": session and session.csrf, "form": form})

    app = Starlette(
        routes=[
            Route("/", echo, methods=["GET", "POST"]),
            Route("/api/v1/x", echo, methods=["GET", "POST"]),
            Route("/metrics", echo),
            Route("/sign-in", echo, methods=["GET", "POST"]),
        ]
    )
    return TestClient(
        Gate(app, doorkeeper=door, hosts=["127.0.0.1:9000"]), base_url=ORIGIN, follow_redirects=False
    )


@pytest.fixture
def signed_in(client, door):
    client.get(f"/?token={door.token}")
    return client


def test_a_link_works_once_and_then_the_cookie(client, door):
    token = door.token
    answer = client.get(f"/?token={token}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200
    client.cookies.clear()
    assert client.get(f"/?token={token}").headers["location"] == "/sign-in?used=1"


def test_a_link_is_used_up_by_who_is_signed_in_already(signed_in, door):
    """Else it would stay in the browser's history, and open the page to whoever finds it there."""
    token = door.token
    answer = signed_in.get(f"/?token={token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert door.token != token
    assert signed_in.get("/").status_code == 200
    again = signed_in.get(f"/?token={token}")  # used up: it is taken out of the address, and that is all
    assert (again.status_code, again.headers["location"]) == (303, "/")
    assert signed_in.get("/").status_code == 200
    signed_in.cookies.clear()
    assert signed_in.get(f"/?token={token}").headers["location"] == "/sign-in?used=1"


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "///evil.example"])
def test_a_link_leads_nowhere_else(client, door, path):
    location = client.get(f"{ORIGIN}{path}?token={door.token}").headers["location"]
    assert urljoin(ORIGIN, location).startswith(f"{ORIGIN}/")


def test_without_anything_pages_lead_to_the_sign_in_and_the_api_says_401(client):
    assert client.get("/").headers["location"] == "/sign-in"
    assert (
        client.post("/").headers["location"] == "/sign-in?lost=1"
    )  # and there stands that nothing was changed
    answer = client.get("/api/v1/x")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 401


def test_a_bearer_token_opens_the_api_and_no_page(client, door):
    headers = {"authorization": f"Bearer {door.token}"}
    assert client.get("/api/v1/x", headers=headers).status_code == 200
    assert client.post("/api/v1/x", headers=headers).status_code == 200
    assert client.get("/", headers=headers).status_code == 303
    assert client.get("/api/v1/x", headers={"authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "eyJ.a.b", "é"])
def test_forged_cookies_are_nobody(client, cookie):
    assert client.get("/", headers={"cookie": f"{COOKIE}={cookie}".encode()}).status_code == 303


def test_another_secret_signs_nothing_here(client):
    assert (
        client.get(
            "/", headers={"cookie": f"{COOKIE}={(stranger := Doorkeeper(b'x' * 32)).redeem(stranger.token)}"}
        ).status_code
        == 303
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:9001", "localhost.evil.example:9000", ""]
)
def test_a_rebound_name_is_refused(signed_in, host):
    answer = signed_in.get("/", headers={"host": host})
    assert (answer.status_code, answer.headers["content-type"]) == (421, "application/problem+json")


def csrf(client):
    return client.get("/").json()["csrf"]


def test_a_change_needs_the_token(signed_in):
    assert signed_in.post("/").status_code == 403
    assert signed_in.post("/", data={"csrf": "wrong"}).status_code == 403
    assert signed_in.post("/", headers={"x-csrf-token": csrf(signed_in)}).status_code == 200


def test_the_form_that_was_read_for_its_token_still_reaches_the_page(signed_in):
    answer = signed_in.post("/", data={"csrf": csrf(signed_in), "subject": "a&b=ü"})
    assert answer.status_code == 200
    assert answer.json()["form"]["subject"] == "a&b=ü"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9001"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_foreign_origin_changes_nothing(signed_in, headers):
    token = csrf(signed_in)
    assert signed_in.post("/", data={"csrf": token}, headers=headers).status_code == 403


def test_a_giant_form_is_refused(signed_in):
    body = b"csrf=" + csrf(signed_in).encode() + b"&x=" + b"a" * (1 << 20)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    refused = signed_in.post("/", content=body, headers=headers)
    assert refused.status_code == 413
    assert "larger than 1 MiB" in refused.text


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("path", "limit"), [("/sign-in", MAX_FORM_BYTES), ("/", MAX_FORM_BYTES), ("/api/v1/x", MAX_API_BYTES)]
)
def test_no_body_is_read_further_than_it_may_be_long(client, door, path, limit, declared):
    client.get(f"/?token={door.token}")
    pieces = iter([b"a" * (limit + 1)])
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-csrf-token": csrf(client),
        "authorization": f"Bearer {door.token}",
    }
    if declared:
        headers["content-length"] = str(limit + 1)
    refused = client.post(path, content=pieces, headers=headers)
    assert refused.status_code == 413
    assert "nothing was changed" in refused.text


@pytest.mark.parametrize("path", ["/sign-in", "/", "/api/v1/x"])
def test_a_form_that_names_its_charset_is_refused_undecoded(signed_in, path):
    """A megabyte of `punycode` takes minutes, `undefined` raises."""
    kind = {"Content-Type": "multipart/form-data; boundary=x; charset=undefined", "Origin": ORIGIN}
    body = b'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\na\r\n--x--\r\n'
    assert signed_in.post(path, content=body, headers=kind).status_code == 415


@pytest.mark.parametrize("path", ["/sign-in", "/"])
def test_who_leaves_in_the_middle_of_a_form_is_no_fault(door, path):
    async def form(scope, receive, send):
        await Request(scope, receive).form()

    async def gone():
        return {"type": "http.disconnect"}

    async def nobody_hears(message):
        raise AssertionError(message)

    kind = b"application/x-www-form-urlencoded"
    cookie = f"{COOKIE}={door.redeem(door.token)}".encode()
    headers = [(b"host", b"127.0.0.1:9000"), (b"content-type", kind), (b"cookie", cookie)]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    gate = Gate(form, doorkeeper=door, hosts=["127.0.0.1:9000"])
    asyncio.run(gate(scope, gone, nobody_hears))


def test_every_answer_carries_the_security_headers(client):
    for path in ("/", "/sign-in", "/api/v1/x"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


def test_passwords():
    door = Doorkeeper(
        b"k" * 32, password_hash=PasswordHasher(time_cost=1, memory_cost=64).hash("correct horse")
    )
    assert door.sign_in("wrong") is None
    assert door.session(door.sign_in("correct horse")) is not None
    assert Doorkeeper(b"k" * 32).sign_in("anything") is None


def test_metrics_want_a_token(client, door):
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"authorization": f"Bearer {door.token}"}).status_code == 200


def test_the_token_of_the_metrics_outlives_links_and_restarts_and_opens_nothing_else(client, door):
    """Prometheus is given it once: a link that somebody opens, and each reload, makes a new one of the other."""
    headers = {"authorization": f"Bearer {Doorkeeper(b'k' * 32).metrics_token}"}
    client.get(f"/?token={door.token}")
    client.cookies.clear()
    answers = {path: client.get(path, headers=headers).status_code for path in ("/metrics", "/api/v1/x", "/")}
    assert answers == {"/metrics": 200, "/api/v1/x": 401, "/": 303}
    other = {"authorization": f"Bearer {Doorkeeper(b'x' * 32).metrics_token}"}
    assert client.get("/metrics", headers=other).status_code == 401


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    names = "DNS:page.example.org,DNS:*.office.example,IP:192.0.2.7,IP:2001:db8::7"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2", "-subj", "/CN=x",
            "-addext", f"subjectAltName={names}",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return (folder / "cert.pem").read_bytes()


@pytest.mark.parametrize(
    ("bound", "port", "host", "status"),
    [
        ("127.0.0.1", 9000, "localhost:9000", 200),
        ("127.0.0.1", 9000, "192.0.2.9:9000", 421),
        ("192.0.2.7", 9000, "page.example.org:9000", 200),
        ("192.0.2.7", 9000, "a.office.example:9000", 200),
        ("192.0.2.7", 9000, "a.b.office.example:9000", 421),
        ("192.0.2.7", 9000, "[2001:db8::7]:9000", 200),
        ("192.0.2.7", 9000, "192.0.2.9:9000", 421),
        ("192.0.2.7", 9000, "evil.example:9000", 421),
        ("192.0.2.7", 443, "page.example.org", 200),
        ("0.0.0.0", 9000, "192.0.2.9:9000", 200),
        ("0.0.0.0", 9000, "192.0.2.9:9001", 421),
        ("0.0.0.0", 9000, "192.0.2.9", 421),
        ("0.0.0.0", 9000, "evil.example:9000", 421),
        ("0.0.0.0", 9000, "192.0.2.9.evil.example:9000", 421),
        ("::", 9000, "[2001:db8::9]:9000", 200),
        ("::", 443, "[2001:db8::9]", 200),
        ("::", 443, "2001:db8::9", 421),
        ("0.0.0.0", 9000, "(any address):9000", 421),
        ("0.0.0.0", 9000, "", 421),
    ],
)
def test_a_page_on_a_network_answers_to_its_own_names(door, certificate, bound, port, host, status):
    gate = Gate(PlainTextResponse("in"), doorkeeper=door, hosts=host_names(bound, port, certificate))
    client = TestClient(gate, base_url=f"https://127.0.0.1:{port}")
    assert client.get("/sign-in", headers={"host": host}).status_code == status
    assert client.get("/healthz", headers={"host": host}).status_code == 200  # a balancer's names are its own
