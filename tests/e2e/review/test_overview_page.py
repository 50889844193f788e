"""The overview in real Chromium, what stands on top of every page, and the ways from a chart to a rule."""

import re
import time

from e2e.processes import wait_for
from e2e.review.visits import BLOCKED, curl
from review.stage import keep, make_event
from secondlook.core.event import EventKind
from secondlook.ledger.ledger import Ledger, LedgerOptions


def test_pause_lets_through_and_resume_blocks_again(page, proxy):
    page.goto("/")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Protection is paused").wait_for()
    wait_for(lambda: "blocked" not in curl(proxy, BLOCKED) or None, "the pause to be in force")
    page.get_by_role("button", name="Resume now").click()
    page.get_by_role("heading", name="Protection is on").wait_for()
    wait_for(lambda: "403 blocked" in curl(proxy, BLOCKED) or None, "protection to be back")


def test_a_bar_of_the_chart_leads_to_the_log_of_its_time_and_on_to_an_entry(page, proxy, complaints):
    curl(proxy, BLOCKED)

    def drawn():
        page.goto("/?range=1h")
        return page.locator(".chart rect.blocked").count() or None

    wait_for(drawn, "the block in the chart")
    bar = page.locator(".chart a:has(rect.blocked)").last
    bar.focus()
    shown = page.locator("[data-values]")
    assert re.search(r": .*checked, .*flagged, \d+ blocked$", shown.inner_text())
    bar.press("Enter")
    page.wait_for_url("**/log?since=*until=*")
    page.locator("tr:has(.tag.bad) td.subject a").first.click()
    page.get_by_role("heading", name="Why").wait_for()
    assert "malware.secondlook.test" in page.locator("h1").inner_text()
    when = page.locator("dl.facts time").first.inner_text()
    assert re.search(r"\b\d{4}\b.* [AP]M\s\S+$", when), when  # with its day and its zone
    for chosen, form in (("30d", r"\w+ \d+"), ("1h", r"\d+:\d+\s[AP]M")):
        page.goto(f"/?range={chosen}")
        axis = page.locator(".plot + .axis time").all_inner_texts()
        assert all(re.fullmatch(form, each) for each in axis), axis
    page.get_by_role("link", name="malware.secondlook.test", exact=True).first.click()
    page.wait_for_url("**host=malware.secondlook.test**")
    page.locator("td.subject a").first.wait_for()
    assert complaints == []


def test_a_client_leads_from_its_chart_to_a_row_and_to_a_rule(page, proxy, complaints):
    """From the list of clients by its chart to the log, there by typing and excluding to the rows, to a rule."""
    for path in ("one", "two", "two", "other"):
        curl(proxy, f"http://malware.secondlook.test/story/{path}")
    proxy.json_when(lambda events: len(events) == 4, "log", "--search", "story/")

    def drawn():
        page.goto("/clients/127.0.0.1?range=30d")  # in one bar, whatever the hour
        return page.locator(".chart rect.blocked").count() or None

    wait_for(drawn, "the blocks in the chart of the client")
    page.locator(".chart a:has(rect.blocked)").last.press("Enter")
    page.wait_for_url("**/log?since=*until=*client=127.0.0.1")
    assert page.locator(".chip", has_text="client: 127.0.0.1").count() == 1
    page.get_by_label("Search").fill("story/")  # nothing is sent: the rows change while typing
    page.wait_for_url("**/log?search=story*")
    page.locator(".chip", has_text="search: story/").wait_for()
    rows = page.locator("table.log tbody tr")
    assert sorted(rows.locator(".path").all_inner_texts()) == ["/story/one", "/story/other", "/story/two"]
    assert rows.filter(has_text="/story/two").locator(".times").inner_text() == "×2"
    assert not page.get_by_role("button", name="Allow ticked").is_visible()
    for path in ("one", "two"):
        rows.filter(has_text=f"/story/{path}").locator("td.tick input").check()
    page.get_by_role("button", name="Allow ticked").click()
    page.get_by_text("Allowed for everybody, ").nth(1).wait_for()
    page.locator(".chip", has_text="search: story/").wait_for()  # back where it was done
    wait_for(
        lambda: "blocked" not in curl(proxy, "http://malware.secondlook.test/story/one") or None, "the rules"
    )
    assert "blocked" in curl(proxy, "http://malware.secondlook.test/story/other")
    page.get_by_role("button", name="Undo").click()
    page.goto("/rules")
    page.get_by_role("heading", name="No rules").wait_for()
    assert complaints == []


def test_late_verdicts_take_little_room_and_are_marked_as_seen(page, proxy):
    """Also on a phone, with long names, and more of them than are named: a fifth of the window at most."""
    long = "a-very-long-name-of-a-host-" * 7
    host = f"{long[:60]}.{long[:60]}.example"
    got = [{"client": f"fd00:1234:5678:9abc:def0:1234:5678:{number:04x}", "user": None, "time": time.time()} for number in range(9)]  # fmt: skip
    ledger = Ledger.open(proxy.state / "ledger.sqlite3", LedgerOptions(background=False))
    for number in range(2):
        event = make_event(
            EventKind.CONFIRMED, url=f"https://{host}/{long}", host=host, identity=bytes([number]) * 32,
            decision=None, extra={"let_through": got},
        )  # fmt: skip
        keep(ledger, event)
        page.set_viewport_size({"width": 360, "height": 640})
        page.goto("/rules")
        strip = page.get_by_role("region", name="Late verdicts")
        assert strip.bounding_box()["height"] <= 640 / 5
        assert strip.evaluate("strip => strip.scrollHeight <= strip.clientHeight"), "all of it is seen"
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, (
            "figures in the menu widen nothing"
        )
    ledger.close()
    page.set_viewport_size({"width": 1440, "height": 900})
    assert strip.bounding_box()["height"] <= 900 / 5
    strip.get_by_role("link", name="See them").click()
    assert page.locator("#fresh").inner_text() == "Not seen yet: 2"
    page.go_back()
    strip.get_by_role("button", name="Mark all as seen").click()
    page.wait_for_url("**/rules?done=seen")
    assert strip.count() == 0
