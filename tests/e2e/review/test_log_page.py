"""The log in real Chromium: followed live, searched while typing, read by keys alone and on a phone; rules from it."""

import re
import threading

import pytest
from playwright.sync_api import Locator

from e2e.processes import wait_for
from e2e.review.visits import BLOCKED, curl, first_event
from proxykit.site import serving
from review.stage import keep, make_event
from secondlook.core.event import EventKind
from secondlook.ledger.ledger import Ledger, LedgerOptions


def test_the_log_follows_live_without_a_gap(page, proxy, complaints):
    def visit(number: int) -> None:
        curl(proxy, f"http://phishing.secondlook.test/login?live={number}")

    def seen(number: int) -> Locator:
        return page.get_by_role("link", name=re.compile(f"login\\?live={number}\\b"))

    page.goto("/log")
    visit(1)  # after the page was made, before it is followed
    page.get_by_role("button", name="Follow live").click()
    seen(1).first.wait_for(timeout=60_000)
    visit(2)
    seen(2).first.wait_for(timeout=60_000)
    page.get_by_role("button", name="Stop following").click()
    visit(3)
    page.get_by_role("button", name="Follow live").click()
    seen(3).first.wait_for(timeout=60_000)
    assert [seen(number).count() for number in (1, 2, 3)] == [1, 1, 1]
    assert complaints == []


def test_a_phone_shows_as_many_rows_as_others_do_and_a_row_opens_to_all_it_has(page, proxy):
    """A row of AdGuard Home's query log takes 68 px there, without client and reason, and its buttons are away."""
    long = "of-a-long-host-name-" * 3
    for number in range(4):
        curl(proxy, f"http://malware.secondlook.test/phone/{long}/{number}")
    ledger = Ledger.open(proxy.state / "ledger.sqlite3", LedgerOptions(background=False))
    host = f"{long}end.{long}end.example"
    keep(
        ledger,
        make_event(url=f"https://{host}/phone/", host=host, client="fd00:1234:5678:9abc:def0:1234:5678:9"),
        make_event(
            EventKind.ERROR,
            detail="a sentence of this story about itself",
            **dict.fromkeys(("url", "host", "client", "list", "stage", "threat")),
        ),
    )
    ledger.close()
    written = ("log", "--decision", "block", "--search", "/phone/")
    wait_for(lambda: len(proxy.json(*written)) >= 5, "all in the log")
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/log?kind=error")
    directions = "each => [...each.querySelectorAll('.host')].map((host) => getComputedStyle(host).direction)"
    sentence = page.locator("table.log tr", has_text="story about itself")
    assert sentence.evaluate(directions) == ["ltr"]  # of a sentence the end is cut
    page.goto("/log?search=/phone/")
    rows = page.locator("table.log tbody tr")
    boxes = [rows.nth(number).bounding_box() for number in range(rows.count())]
    assert len(boxes) == 5
    assert max(box["height"] for box in boxes) <= 68
    row = rows.filter(has_text="end.example")
    for shown in ("blocked", "fd00:", "malware", "end.example"):
        assert row.get_by_text(shown).first.is_visible()
    assert not row.get_by_role("button").is_visible()
    row.get_by_label("More about this row").click()
    for action in (
        row.get_by_role("button", name="Allow"),
        row.locator("summary"),
        row.locator("td.tick label"),
    ):
        box = action.bounding_box()
        assert min(box["width"], box["height"]) >= 44
    closed = rows.filter(has_not_text="end.example").last  # workers write a moment later: any may be the last
    closed.scroll_into_view_if_needed()
    box = closed.bounding_box()
    page.mouse.click(box["x"] + 150, box["y"] + box["height"] - 8)  # beside every letter of the address
    page.wait_for_url(re.compile("/log/[0-9A-Z]{26}$"))


def test_the_reason_of_a_row_keeps_its_room_beside_a_long_client(page, proxy):
    ledger = Ledger.open(proxy.state / "ledger.sqlite3", LedgerOptions(background=False))
    keep(
        ledger,
        make_event(
            host="wide.example", url="https://wide.example/", client="fd00:1234:5678:9abc:def0:1234:5678:0001"
        ),
    )
    ledger.close()
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto("/log?host=wide.example")
    assert page.locator("td[data-label=Why]").first.bounding_box()["width"] >= 160
    assert page.locator("table.log tbody tr").first.bounding_box()["height"] < 90
    for width in (1025, 1100, 1264, 1265):  # its buttons are within sight, however wide the window is
        page.set_viewport_size({"width": width, "height": 800})
        hidden = page.locator(".scroll:has(> table.log)").evaluate("it => it.scrollWidth - it.clientWidth")
        assert hidden <= 0, width


def test_the_log_is_read_by_keys_alone(page, proxy, complaints):
    curl(proxy, "http://malware.secondlook.test/keys/one")
    curl(proxy, "http://malware.secondlook.test/keys/two")
    written = ("log", "--decision", "block", "--search", "keys/")
    wait_for(lambda: len(proxy.json(*written)) >= 2, "both in the log")  # workers write a moment later
    page.goto("/log?decision=block")
    press = page.keyboard.press
    press("?")
    page.get_by_role("dialog").wait_for()
    press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    press("/")
    page.locator("input[type=search]:focus").wait_for()
    page.keyboard.type("keys/")
    page.locator(".chip", has_text="search: keys/").wait_for()
    assert page.get_by_label("Search").input_value() == "keys/"  # a letter is no key while it is typed
    press("Tab")
    page.evaluate("document.activeElement.blur()")
    press("j")
    press("x")
    press("j")
    page.locator("tr.at .path", has_text="/keys/one").wait_for()
    press("k")
    page.locator("tr.at .path", has_text="/keys/two").wait_for()
    assert page.locator("tr.at td.tick input").is_checked()
    press("Enter")
    page.wait_for_url(re.compile("/log/[0-9A-Z]{26}$"))
    assert "/keys/two" in page.locator("h1").inner_text()
    assert complaints == []


def test_a_key_is_heard_as_soon_as_the_list_of_keys_is_closed(page):
    """The focus leaves a closed dialog only when the page is drawn, and a key may come before that."""
    page.goto("/log")
    focus = """keys => {
        const dialog = document.querySelector("dialog");
        const press = key => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
        const focus = [];
        for (const key of keys) {
            if (key === "Escape") dialog.close(); else press(key);
            focus.push([dialog.open, document.activeElement.name]);
        }
        return focus;
    }"""
    assert page.evaluate(focus, ["?", "/", "Escape", "/"]) == [
        [True, ""],
        [True, ""],
        [False, ""],
        [False, "search"],
    ]


def test_following_is_stopped_without_losing_what_has_come(page, proxy, complaints):
    """Rows are painted a moment after they came; here that moment is longer than the test."""
    page.add_init_script(
        "const later = setTimeout; window.setTimeout = (act, ms) => later(act, ms === 100 ? 1e6 : ms)"
    )
    page.goto("/log")
    before = page.locator("tbody[data-live]").get_attribute("data-after")
    page.get_by_role("button", name="Follow live").click()
    curl(proxy, "http://phishing.secondlook.test/login?stopped")
    page.locator(f'tbody[data-live]:not([data-after="{before}"])').wait_for()
    page.get_by_role("button", name="Stop following").click()
    page.get_by_role("link", name=re.compile(r"login\?stopped")).first.wait_for()
    assert complaints == []


@pytest.fixture
def half_an_answer():
    """Serve a page that begins and does not end before the test does."""
    over = threading.Event()

    def begin(handler):
        handler.send_response(200)
        handler.send_header("content-type", "text/html")
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b"<!doctype html>")
        over.wait()

    with serving(begin) as url:
        yield url
        over.set()


def test_typing_on_gives_up_an_answer_that_has_begun(page, half_an_answer, complaints):
    page.goto("/log")
    page.route("**/log?search=a", lambda route: route.continue_(url=half_an_answer))
    search = page.get_by_label("Search")
    with page.expect_response(half_an_answer):
        search.fill("a")
    search.fill("ab")
    page.locator(".chip", has_text="search: ab").wait_for()
    assert complaints == []


def test_allow_from_an_entry_and_undo(page, proxy):
    first_event(page)
    page.get_by_label(re.compile("This host and everything on it")).check()
    page.get_by_label("For how long").select_option("1h")
    page.get_by_role("button", name="Allow").click()
    page.get_by_text("Allowed for everybody, ").wait_for()
    wait_for(lambda: "blocked" not in curl(proxy, BLOCKED) or None, "the rule to be in force")
    page.goto("/rules")
    assert re.fullmatch(r"(60|5\d) min left", page.locator("[data-until]").inner_text())
    page.go_back()
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: "403 blocked" in curl(proxy, BLOCKED) or None, "the rule to be gone")


def test_a_rejected_form_keeps_what_was_typed(page):
    page.goto("/rules")
    page.get_by_label("Host, URL, digest").fill("10.0.0.0/8")
    page.get_by_label("Reason").fill("the whole network")
    page.get_by_role("button", name="Block", exact=True).click()
    assert "rule cannot be about a network" in page.get_by_role("alert").inner_text()
    field = page.get_by_label("Host, URL, digest")
    assert field.input_value() == "10.0.0.0/8"
    assert page.get_by_label("Reason").input_value() == "the whole network"
    page.wait_for_function("document.activeElement.name === 'subject'")  # it has the focus once it is drawn
    assert field.get_attribute("aria-invalid") == "true"
