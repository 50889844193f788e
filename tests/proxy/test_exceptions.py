"""Who may let himself through from the block page: by the policy of his group, and for himself alone (8 s)."""

import re
import socket
import ssl
import time

import pytest
from argon2 import PasswordHasher

from proxykit.origin import Asked, send

HASH = PasswordHasher(time_cost=1, memory_cost=1024).hash("secret")
LASTS_S = 8  # an exception; long enough to be used on a busy machine
ANNA, BOB = ("-U", "anna:secret"), ("-U", "bob:secret")


async def hello(asked: Asked, writer) -> None:
    await send(writer, b"hello")


@pytest.fixture
def bad(make_origin, gatekeeper):
    gatekeeper.bad.add("127.0.0.1/bad")
    return f"http://127.0.0.1:{make_origin(hello).port}/bad"


def link_in(page: str, what: str = "blocked") -> str:
    found = re.search(rf'href="(https://secondlook\.internal/{what}/[^"#]+)', page)
    assert found is not None
    return found[1]


def token_in(page: str) -> str | None:
    found = re.search(r'name="token" value="([^"]+)"', page)
    return found[1] if found else None


def test_a_group_that_may_not_is_offered_nothing_and_gets_nothing(make_proxy, gatekeeper, bad, curl):
    group = {"name": "kids", "networks": ["127.0.0.0/8"], "policy": {"override": False}}
    kids, free = make_proxy(clients={"groups": [group]}), make_proxy()
    page = curl(kids, "-H", "Accept: text/html", bad).stdout.decode()
    assert "Let me through" not in page
    assert token_in(curl(kids, link_in(page)).stdout.decode()) is None
    # even with a token that is genuine
    token = token_in(curl(free, link_in(page)).stdout.decode())
    assert token is not None
    done = curl(kids, "-i", "-d", f"token={token}", link_in(page).replace("https", "http"))
    assert b" 403" in done.stdout.splitlines()[0]
    assert gatekeeper.exceptions == []


def test_a_group_that_may_where_others_may_not(make_proxy, bad, curl):
    group = {"name": "staff", "users": ["anna"], "policy": {"override": True}}
    users = {"anna": HASH, "bob": HASH}
    proxy = make_proxy(policy={"override": False}, clients={"users": users, "groups": [group]})
    for login, offered in ((ANNA, True), (BOB, False), ((), False)):
        page = curl(proxy, *login, "-H", "Accept: text/html", bad).stdout.decode()
        assert ("Let me through" in page) is offered
        details = curl(proxy, *login, link_in(page)).stdout.decode()
        assert (token_in(details) is not None) is offered


def test_a_block_is_shown_and_lifted_for_its_own_user_alone(make_proxy, gatekeeper, bad, curl):
    proxy = make_proxy(clients={"users": {"anna": HASH, "bob": HASH}})
    link = link_in(curl(proxy, *ANNA, "-H", "Accept: text/html", bad).stdout.decode())
    token = token_in(curl(proxy, *ANNA, link).stdout.decode())
    assert token is not None
    for login in (BOB, (), ("-U", "anna:wrong")):
        assert b"not yours" in curl(proxy, *login, link).stdout
        assert b"not yours" in curl(proxy, *login, "-d", f"token={token}", link).stdout
    assert gatekeeper.exceptions == []
    assert b"Open for you" in curl(proxy, *ANNA, "-d", f"token={token}", link).stdout
    assert gatekeeper.exceptions == [("E1", "127.0.0.1", "anna", 600.0)]


NO_INSECURE: dict[str, object] = {"mitmproxy": {}}


@pytest.fixture
def own(make_origin):
    """A host that made its certificate itself."""
    return make_origin(hello, tls=True)


def failure(proxy, curl, url, *login) -> str:
    return curl(proxy, *login, "-H", "Accept: text/html", url).stdout.decode()


def passes(proxy, curl, url, *login) -> bool:
    """Tell whether a client meets the origin's own certificate: what is opened gets our page."""
    return curl(proxy, *login, "-k", url).stdout == b"hello"


def test_a_certificate_that_does_not_hold_is_passed_through_to_who_lets_it_pass(
    make_proxy, gatekeeper, own, curl
):
    proxy = make_proxy(**NO_INSECURE, policy={"override": {"duration": LASTS_S}})
    url = f"https://127.0.0.1:{own.port}/"
    page = failure(proxy, curl, url)
    link = link_in(page, "unopened")
    document = curl(proxy, url).stdout
    assert f'"instance": "{link}"'.encode() in document
    asked = curl(proxy, "-i", link).stdout.decode()
    assert "Pass it through for 1 minute" in asked
    assert "frame-ancestors 'none'" in asked
    assert "certificate verify failed" in asked.lower()
    token = token_in(asked)
    assert token is not None
    # nothing by GET, by a form of somebody else, from another client, or in the name of a block
    assert b"Passed" not in curl(proxy, f"{link}?token={token}").stdout
    assert (
        b"another site" in curl(proxy, "-H", "Origin: http://evil.test", "-d", f"token={token}", link).stdout
    )
    assert b"too old" in curl(proxy, "-d", "token=1.forged", link).stdout
    assert b"not yours" in curl(proxy, "--interface", "127.0.0.2", "-d", f"token={token}", link).stdout
    assert b"no such" in curl(proxy, "-d", f"token={token}", link.replace("unopened", "blocked")).stdout
    assert not passes(proxy, curl, url)
    assert not own.requests
    done = curl(
        proxy, "-d", f"token={token}", "-H", "Origin: https://secondlook.internal", link
    ).stdout.decode()
    assert "Passed through for you" in done
    assert f'href="{url}"' in done
    assert passes(proxy, curl, url)
    # for this client alone, as long as it lasts, and its host is judged all the same
    assert not passes(proxy, curl, url, "--interface", "127.0.0.2")
    gatekeeper.bad.add("127.0.0.1/")
    assert not passes(proxy, curl, url)
    gatekeeper.bad.clear()
    made = next(event for event in proxy.log.events if event.stage == "passthrough")
    assert (made.kind, made.client, made.user, made.host) == ("overridden", "127.0.0.1", None, "127.0.0.1")
    time.sleep(max(0.0, made.time + LASTS_S + 0.1 - time.time()))
    assert not passes(proxy, curl, url)


def test_a_connection_that_is_opened_already_ends_when_its_host_is_passed_through(make_proxy, own, curl):
    proxy = make_proxy(**NO_INSECURE)
    trusting = ssl.create_default_context(cafile=proxy.ca)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(f"CONNECT 127.0.0.1:{own.port} HTTP/1.1\r\n\r\n".encode())
        assert b" 200 " in client.recv(1000)
        with trusting.wrap_socket(client, server_hostname="127.0.0.1") as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n")
            page = b""
            while b"</html>" not in page:
                page += tls.recv(65536)
            link = link_in(page.decode(), "unopened")
            token = token_in(curl(proxy, link).stdout.decode())
            curl(proxy, "-d", f"token={token}", link)
            assert tls.recv(100) == b"", "a browser would meet our page again"


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": {"override": False}},
        {"policy": {"override": {"unopened": False}}},
        {
            "clients": {
                "groups": [{"name": "kids", "networks": ["127.0.0.0/8"], "policy": {"override": False}}]
            }
        },
        {"log": {"privacy": 3}},
    ],
)
def test_where_none_may_let_a_certificate_pass_nothing_is_offered_or_made(make_proxy, own, curl, settings):
    proxy = make_proxy(**NO_INSECURE, **settings)
    url = f"https://127.0.0.1:{own.port}/"
    page = failure(proxy, curl, url)
    assert "does not prove who it is" in page
    assert "/unopened/" not in page
    free = make_proxy(**NO_INSECURE)
    told = link_in(failure(free, curl, url), "unopened")
    proxy.log.events = free.log.events
    token = token_in(curl(free, told).stdout.decode())
    if "log" not in settings:  # there the event would not be found
        assert token_in(curl(proxy, told).stdout.decode()) is None
        assert b"no exception is made" in curl(proxy, "-d", f"token={token}", told).stdout
    assert not [event for event in proxy.log.events if event.stage == "passthrough"]


def test_a_passage_is_its_own_users_alone(make_proxy, own, curl):
    proxy = make_proxy(**NO_INSECURE, clients={"users": {"anna": HASH, "bob": HASH}})
    url = f"https://127.0.0.1:{own.port}/"
    link = link_in(failure(proxy, curl, url, *ANNA), "unopened")
    token = token_in(curl(proxy, *ANNA, link).stdout.decode())
    for login in (BOB, ()):
        assert b"not yours" in curl(proxy, *login, "-d", f"token={token}", link).stdout
    assert b"Passed through" in curl(proxy, *ANNA, "-d", f"token={token}", link).stdout
    assert passes(proxy, curl, url, *ANNA)
    assert not passes(proxy, curl, url, *BOB)
