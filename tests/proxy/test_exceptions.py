"""Who may let himself through from the block page: by the policy of his group, and for himself alone (2 s)."""

import re

import pytest
from argon2 import PasswordHasher

from proxykit.origin import Asked, send

HASH = PasswordHasher(time_cost=1, memory_cost=1024).hash("secret")
ANNA, BOB = ("-U", "anna:secret"), ("-U", "bob:secret")


async def hello(asked: Asked, writer) -> None:
    await send(writer, b"hello")


@pytest.fixture
def bad(make_origin, gatekeeper):
    gatekeeper.bad.add("127.0.0.1/bad")
    return f"http://127.0.0.1:{make_origin(hello).port}/bad"


def link_in(page: str) -> str:
    found = re.search(r'href="(https://secondlook\.internal/blocked/[^"#]+)', page)
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
