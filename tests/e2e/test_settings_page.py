"""Lists and policy from the review page of a running proxy, in real Chromium, by the keyboard too."""

import re

import pytest

from e2e.browser import chromium
from e2e.processes import Proxy, wait_for
from proxykit.site import send_page, serving

SETTINGS = """\
# what this household wants
workers: 2     # two are enough
policy:
    level:   medium   # for everybody
feeds: []      # none yet

# kept as it is
log: {all: true}
"""
LISTED = "http://settings-story.example/"


@pytest.fixture
def proxy(tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text(SETTINGS)
    running = Proxy(tmp_path / "state", config)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(proxy, browser):
    facts = proxy.fresh_facts()
    with browser.new_context(base_url=f"http://{facts['review']}") as context:
        page = context.new_page()
        page.goto(f"/?token={facts['token']}")
        yield page


@pytest.fixture(scope="module")
def feed():
    """Serve a feed of one host and one line that is none."""

    body = b"settings-story.example\ncom\n"
    with serving(lambda request: send_page(request, body)) as site:
        yield f"{site}list"


def put_in_force(page):
    page.get_by_role("button", name="Write it and put it in force").press("Enter")
    page.get_by_role("heading", name="In force").wait_for(timeout=60_000)


def test_a_feed_is_added_tried_switched_on_and_blocks(page, proxy, feed):
    assert proxy.curl(LISTED).status != 403
    page.goto("/settings")
    page.get_by_label("Name").first.fill("mine")
    page.get_by_label("Address", exact=True).fill(feed)
    page.get_by_label("Fetched every").fill("soon")
    page.get_by_role("button", name="Show the difference").first.press("Enter")
    assert "Expected" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Address", exact=True).input_value() == feed
    page.wait_for_function("document.activeElement.name === 'every'")  # it has the focus once it is drawn
    page.keyboard.press("Control+A")
    page.keyboard.type("1d")

    page.get_by_role("button", name="Try it").press("Enter")
    tried = page.locator("#tried")
    assert "1 entry of" in tried.inner_text()
    assert "1 public suffix or bare name" in tried.inner_text()
    assert proxy.curl(LISTED).status != 403
    assert page.get_by_label("Fetched every").input_value() == "1d"

    page.get_by_role("button", name="Show the difference").first.press("Enter")
    page.locator(".difference .added").first.wait_for()
    added = page.locator(".difference .added").all_inner_texts()
    assert added == ["+feeds:      # none yet", "+  - name: mine", f"+    url: {feed}", "+    every: 1d"]
    put_in_force(page)
    wanted = SETTINGS.replace(
        "feeds: []      # none yet\n",
        f"feeds:      # none yet\n  - name: mine\n    url: {feed}\n    every: 1d\n",
    )
    assert proxy.config.read_text() == wanted  # all beside it byte for byte
    wait_for(lambda: proxy.curl(LISTED).status == 403 or None, "the feed's host to be blocked")

    page.get_by_role("link", name="Settings", exact=True).last.press("Enter")
    page.get_by_role("button", name="Switch off mine").press("Enter")
    page.locator(".difference .added").first.wait_for()
    assert page.locator(".difference .added").all_inner_texts() == ["+    enabled: false"]
    put_in_force(page)
    assert proxy.config.read_text() == wanted.replace("every: 1d\n", "every: 1d\n    enabled: false\n")
    page.goto("/settings")
    assert page.get_by_role("button", name="Switch on mine").is_visible()

    wait_for(lambda: proxy.curl(LISTED).status != 403 or None, "what the feed brought to be out of force")

    def told():
        found = [event["detail"].rpartition(": ")[2] for event in proxy.json("log", "--kind", "action")]
        return found if len(found) > 2 else None

    assert wait_for(told, "an event of each change, and of what became of the feed") == [
        "adds the feed mine",
        "switches the feed mine off",
        "what it brought (1) is out of force, and kept for when it is switched on again",
    ]


def test_the_level_is_changed_in_every_worker_and_a_change_by_hand_is_not_lost(page, proxy):
    page.goto("/settings")
    page.get_by_role("combobox", name="Level", exact=True).first.select_option("high")
    page.get_by_role("button", name="Show the difference").nth(1).press("Enter")
    by_hand = proxy.config.read_text() + "# by hand\n"
    proxy.config.write_text(by_hand)
    page.get_by_role("button", name="Write it and put it in force").press("Enter")
    assert "changed meanwhile" in page.get_by_role("alert").inner_text()
    assert proxy.config.read_text() == by_hand
    put_in_force(page)
    assert "2 workers work by the new settings" in page.get_by_role("status").inner_text()
    assert proxy.config.read_text() == by_hand.replace("level:   medium ", "level:   high ")
    page.goto("/clients/127.0.0.1")
    assert re.search(r"Level\s+high", page.locator("main").inner_text())
