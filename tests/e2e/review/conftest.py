"""A running proxy with something blocked, and its review page in real Chromium with somebody signed in."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from e2e.browser import chromium
from e2e.processes import Proxy, wait_for
from e2e.review.visits import BLOCKED, curl, review


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Run a proxy that logs all; one page was blocked."""
    folder = tmp_path_factory.mktemp("review")
    config = folder / "proxy.yaml"
    config.write_text("workers: 1\nlog: {all: true}\nfeeds: []\n")
    running = Proxy(folder / "state", config)
    curl(running, BLOCKED)
    running.json_when(bool, "log", "--kind", "blocked")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium; every name below evil.example is this machine."""
    with chromium("--host-resolver-rules=MAP *.evil.example 127.0.0.1") as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(proxy: Proxy, browser: Browser) -> Any:
    """Sign in by the link; give what the browser keeps of it."""
    context = browser.new_context()
    page = context.new_page()
    token = proxy.fresh_facts()["token"]
    page.goto(f"{review(proxy)}/?token={token}")
    assert page.url == f"{review(proxy)}/"
    wait_for(lambda: proxy.fresh_facts()["token"] != token, "run.json to hold a fresh one")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def complaints() -> list[str]:
    """Errors that the console of `page` has shown."""
    return []


@pytest.fixture
def page(proxy: Proxy, browser: Browser, signed_in: Any, complaints: list[str]) -> Iterator[Page]:
    """Open a window of somebody who is signed in."""
    context = browser.new_context(storage_state=signed_in, base_url=review(proxy))
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
