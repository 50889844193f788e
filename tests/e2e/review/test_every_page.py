"""Every page of a running proxy in real Chromium: accessible, within the window, by keyboard, by finger, without script."""

import pytest

from e2e.axe import faults
from e2e.review.visits import first_event, review

PAGES = [
    "/",
    "/log",
    "/clients",
    "/clients/127.0.0.1",
    "/flagged",
    "/late",
    "/rules",
    "/check?subject=http://malware.secondlook.test/",
    "/quarantine",
    "/lists",
    "/settings",
    "/setup",
]
BUTTONS = "button, .button, select, nav a, td.tick label, .menu summary"
SHOWN = "each => each.filter((one) => one.checkVisibility()).map((one) => one.outerHTML.slice(0, 100))"
SMALL = """each => each.filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
    .map((one) => one.outerHTML.slice(0, 100))"""
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.mark.parametrize("width", [360, 1440])
def test_every_page_is_accessible_and_fits_and_has_no_form_on_paper(page, width, complaints):
    """Its script looks at the width, and only its style at light, dark and paper; on a phone a finger meets each button."""
    page.set_viewport_size({"width": width, "height": 900})
    for path in [*PAGES, f"/log/{first_event(page)}"]:
        page.goto(path)
        assert complaints == [], path
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (
                f"{path} is wider than {width}"
            )
            serious = [
                (fault["id"], [node["html"][:160] for node in fault["nodes"]])
                for fault in faults(page)
                if fault["impact"] in ("serious", "critical")
            ]
            assert serious == [], (path, scheme)
        if width == 360:
            assert page.locator(BUTTONS).evaluate_all(SMALL) == [], path
        page.emulate_media(media="print")  # in the dark
        assert page.locator("h1").count() == 1
        assert page.locator("nav, form, button").evaluate_all(SHOWN) == [], path
        page.emulate_media(media="screen")


def test_in_the_readers_own_colours_nothing_is_shown_by_a_background_alone(page):
    page.emulate_media(forced_colors="active")
    page.goto("/?range=30d")
    for current in ("nav a[aria-current=page]", ".ranges a[aria-current]"):
        assert page.locator(current).evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    kept = "each => getComputedStyle(each, '::before').forcedColorAdjust"
    legend = page.locator(".legend span")
    assert legend.count() >= 3
    assert {each.evaluate(kept) for each in legend.all()} == {"none"}


def test_everything_can_be_reached_by_keyboard(page):
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.goto("/log")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
    assert {"Overview", "Follow live", "search", "decision", "Show"} <= reached


def test_it_reads_without_javascript(browser, proxy, signed_in):
    context = browser.new_context(storage_state=signed_in, base_url=review(proxy), java_script_enabled=False)
    page = context.new_page()
    for path in PAGES:
        page.goto(path)
        assert page.locator("h1").count() == 1
    page.goto("/log")
    assert "UTC" in page.locator("time").first.inner_text()
    assert page.get_by_role("button", name="Follow live").count() == 0  # it would do nothing
    page.set_viewport_size({"width": 360, "height": 900})
    lower = page.locator("td.act:has(button)").first.bounding_box()["y"]
    row = page.locator("tr:has(td.act button)").first.locator("time").first.bounding_box()
    assert row["y"] + row["height"] <= lower  # the longest form of a time is not covered
    first_event(page)
    page.get_by_role("heading", name="Is this a mistake?").wait_for()
    assert page.get_by_role("button", name="Copy the text").count() == 0
    context.close()


def test_a_file_is_hashed_in_the_browser_and_never_uploaded(page):
    sent = []
    page.on("request", lambda request: sent.append((request.method, request.post_data_buffer)))
    page.goto("/check")
    page.locator("input[type=file]").set_input_files(
        {"name": "eicar.com", "mimeType": "application/octet-stream", "buffer": EICAR}
    )
    page.wait_for_url("**/check?subject=*")
    assert page.locator("#answer .tag").inner_text() == "blocked"
    assert all(method == "GET" and not body for method, body in sent)
