"""The review page of a running proxy in real Chromium: every page and action, and every way in that is closed."""

import http.server
import re
import subprocess
import threading
import time
from importlib.resources import files

import pytest
from argon2 import PasswordHasher
from playwright.sync_api import Locator

from e2e.browser import chromium
from e2e.processes import Proxy, make_certificate, wait_for
from review.stage import keep, make_event
from secondlook.core.event import EventKind
from secondlook.ledger.ledger import Ledger, LedgerOptions

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
BLOCKED = "http://malware.secondlook.test/page"
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    config = folder / "proxy.yaml"
    config.write_text("workers: 1\nlog: {all: true}\nfeeds: []\n")
    running = Proxy(folder / "state", config)
    curl(running, BLOCKED)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser():
    with chromium("--host-resolver-rules=MAP *.evil.example 127.0.0.1") as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(proxy, browser):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{review(proxy)}/?token={proxy.fresh_facts()['token']}")
    assert page.url == f"{review(proxy)}/"
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(proxy, browser, signed_in):
    context = browser.new_context(storage_state=signed_in, base_url=review(proxy))
    page = context.new_page()
    page.complaints = []
    page.on(
        "console", lambda message: page.complaints.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()


def review(proxy):
    return f"http://{proxy.facts['review']}"


def curl(proxy, *arguments):
    command = [
        "curl",
        "-sS",
        "--noproxy",
        "",
        "-x",
        proxy.url,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %header{x-second-look}",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def first_event(page):
    page.goto("/log?decision=block&host=malware.secondlook.test")
    page.locator("tbody a").first.click()
    return page.url.rpartition("/")[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_page_is_accessible_and_fits(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    axe = (files("axe_playwright_python") / "axe.min.js").read_text()
    for path in [*PAGES, f"/log/{first_event(page)}"]:
        page.goto(path)
        assert page.complaints == [], path
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (
            f"{path} is wider than {width}"
        )
        page.evaluate(axe)  # by the debugger: the page's own policy would refuse it
        found = page.evaluate("axe.run()")["violations"]
        serious = [
            (fault["id"], [node["html"][:160] for node in fault["nodes"]])
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]
        assert serious == [], path


def test_pause_lets_through_and_resume_blocks_again(page, proxy):
    page.goto("/")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Protection is paused").wait_for()
    wait_for(lambda: "blocked" not in curl(proxy, BLOCKED) or None, "the pause to be in force")
    page.get_by_role("button", name="Resume now").click()
    page.get_by_role("heading", name="Protection is on").wait_for()
    wait_for(lambda: "403 blocked" in curl(proxy, BLOCKED) or None, "protection to be back")


def test_allow_from_an_entry_and_undo(page, proxy):
    first_event(page)
    page.get_by_label(re.compile("This host and everything on it")).check()
    page.get_by_label("For how long").select_option("1h")
    page.get_by_role("button", name="Allow").click()
    page.get_by_text("Allowed for everybody, ").wait_for()
    wait_for(lambda: "blocked" not in curl(proxy, BLOCKED) or None, "the rule to be in force")
    page.goto("/rules")
    assert page.locator("[data-until]").inner_text() == "60 min left"
    page.go_back()
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: "403 blocked" in curl(proxy, BLOCKED) or None, "the rule to be gone")


def test_the_log_follows_live_without_a_gap(page, proxy):
    def visit(number: int) -> None:
        curl(proxy, f"http://phishing.secondlook.test/login?live={number}")

    def seen(number: int) -> Locator:
        return page.get_by_role("link", name=re.compile(f"login\\?live={number}\\b"))

    page.goto("/log")
    visit(1)  # after the page was made, before it is followed
    page.get_by_role("button", name="Follow live").click()
    seen(1).first.wait_for(timeout=10_000)
    visit(2)
    seen(2).first.wait_for(timeout=10_000)
    page.get_by_role("button", name="Stop following").click()
    visit(3)
    page.get_by_role("button", name="Follow live").click()
    seen(3).first.wait_for(timeout=10_000)
    assert [seen(number).count() for number in (1, 2, 3)] == [1, 1, 1]
    assert page.complaints == []


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


def test_a_bar_of_the_chart_leads_to_the_log_of_its_time_and_on_to_an_entry(page, proxy):
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
    page.goto("/?range=1h")
    page.get_by_role("link", name="malware.secondlook.test", exact=True).first.click()
    assert "host=malware.secondlook.test" in page.url
    assert page.locator("td.subject a").count() > 0
    assert page.complaints == []


def test_a_client_leads_from_its_chart_to_a_row_and_to_a_rule(page, proxy):
    """From the list of clients by its chart to the log, there by typing and excluding to the rows, to a rule."""
    for path in ("one", "two", "two", "other"):
        curl(proxy, f"http://malware.secondlook.test/story/{path}")

    def drawn():
        page.goto("/clients/127.0.0.1?range=1h")
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
    assert page.complaints == []


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
            detail="a part of ours did not get the processor",
            **dict.fromkeys(("url", "host", "client", "list", "stage", "threat")),
        ),
    )
    ledger.close()
    written = ("log", "--decision", "block", "--search", "/phone/")
    wait_for(lambda: len(proxy.json(*written)) >= 5, "all in the log")
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/log?kind=error")
    directions = "each => [...each.querySelectorAll('.host')].map((host) => getComputedStyle(host).direction)"
    sentence = page.locator("table.log tr", has_text="did not get the processor")
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


def test_on_a_phone_a_finger_meets_every_button(page, proxy):
    page.set_viewport_size({"width": 360, "height": 740})
    for path in [*PAGES, f"/log/{first_event(page)}"]:
        page.goto(path)
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, .button, select, nav a, td.tick label, .menu summary")]
                .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 44)
                .map((each) => each.outerHTML.slice(0, 100))"""
        )
        assert small == [], path


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


def test_a_rejected_form_keeps_what_was_typed(page):
    page.goto("/rules")
    page.get_by_label("Host, URL, digest").fill("10.0.0.0/8")
    page.get_by_label("Reason").fill("the whole network")
    page.get_by_role("button", name="Block", exact=True).click()
    assert "a rule cannot be about a network" in page.get_by_role("alert").inner_text()
    field = page.get_by_label("Host, URL, digest")
    assert field.input_value() == "10.0.0.0/8"
    assert page.get_by_label("Reason").input_value() == "the whole network"
    assert page.evaluate("document.activeElement.name") == "subject"
    assert field.get_attribute("aria-invalid") == "true"


def test_the_log_is_read_by_keys_alone(page, proxy):
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
    assert page.complaints == []


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


def test_following_is_stopped_without_losing_what_has_come(page, proxy):
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
    assert page.complaints == []


def test_typing_on_gives_up_an_answer_that_has_begun(page, half_an_answer):
    page.goto("/log")
    page.route("**/log?search=a", lambda route: route.continue_(url=half_an_answer))
    search = page.get_by_label("Search")
    with page.expect_response(half_an_answer):
        search.fill("a")
    search.fill("ab")
    page.locator(".chip", has_text="search: ab").wait_for()
    assert page.complaints == []


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


def test_a_link_that_was_used_opens_nothing(browser, proxy):
    token = proxy.fresh_facts()["token"]
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{review(proxy)}/?token={token}")
    assert page.get_by_role("heading", name="Overview").count() == 1
    context.close()
    thief = browser.new_context()
    page = thief.new_page()
    page.goto(f"{review(proxy)}/?token={token}")
    page.get_by_text("This link has been used already").wait_for()
    thief.close()
    wait_for(lambda: proxy.fresh_facts()["token"] != token or None, "run.json to hold a fresh one")


@pytest.fixture
def half_an_answer():
    """Serve a page that begins and does not end before the test does."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b"<!doctype html>")
            over.wait()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def evil_site(proxy):
    """Serve a page of another origin on this machine that tries its luck with the review page."""
    target = review(proxy)
    html = f"""<!doctype html><iframe id=frame src="{target}/"></iframe>
      <form id=form method=post action="{target}/pause" target=_self><input name=minutes value=60><input name=csrf value=x></form>
      <script>window.results = Promise.all([
        fetch("{target}/api/v1/overview", {{credentials: "include"}}).then((r) => r.status, () => "refused"),
        fetch("{target}/pause", {{method: "POST", credentials: "include", mode: "no-cors", body: new URLSearchParams({{minutes: 60}})}})
          .then((r) => r.type, () => "refused"),
      ]);</script>""".encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_another_site_can_neither_frame_nor_read_nor_change(page, proxy, evil_site):
    page.goto(evil_site)
    assert page.evaluate("window.results.then((results) => results[0])") == "refused"
    page.evaluate("window.results")
    frame = page.frames[1]
    assert frame.url.startswith("chrome-error://")
    page.evaluate("document.getElementById('form').submit()")
    page.wait_for_url("**/pause")
    assert "comes from another site" in page.content()
    page.goto(f"{review(proxy)}/")
    page.get_by_role("heading", name="Protection is on").wait_for()


def test_a_rebound_name_gets_nothing(browser, proxy):
    port = proxy.facts["review"].rpartition(":")[2]
    token = proxy.fresh_facts()["token"]
    context = browser.new_context()
    answer = context.new_page().goto(f"http://rebound.evil.example:{port}/?token={token}")
    assert answer.status == 421
    context.close()
    assert proxy.fresh_facts()["token"] == token


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "2130706433", "0x7f.1", "127.1", "0.0.0.0"],
)
def test_the_proxy_does_not_carry_requests_to_it(proxy, host):
    port = proxy.facts["review"].rpartition(":")[2]
    assert curl(proxy, "-g", f"http://{host}:{port}/healthz").startswith("403 blocked")
    assert curl(proxy, "-g", "-p", f"http://{host}:{port}/healthz") in ("403 ", "000 ") or curl(
        proxy, "-g", "-p", f"http://{host}:{port}/healthz"
    ).startswith("403 blocked")


def test_a_password_opens_the_page_and_guessing_it_is_slowed(start_proxy, browser, tmp_path):
    """Over TLS, in a browser: five wrong tries close the door, also for the right password; then it opens."""
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    hashed = PasswordHasher(time_cost=1, memory_cost=1024).hash("right one").replace("$", "$$")
    proxy = start_proxy(
        f'workers: 1\nfeeds: []\nreview:\n  password: "{hashed}"\n  tls: {{cert: {certificate}, key: {key}}}\n'
    )
    base = f"https://{proxy.facts['review']}"

    def try_password(page, password):
        page.goto(f"{base}/")
        assert page.url == f"{base}/sign-in"
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()

    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    try_password(page, "right one")
    page.get_by_role("heading", name="Overview").wait_for()
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{base}/sign-in")
    context.close()

    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    for guess in range(4):  # one of the five a minute was the right one
        try_password(page, f"guess {guess}")
        page.get_by_text("That is not the password.").wait_for()
    try_password(page, "right one")
    page.get_by_text(re.compile(r"Too many tries\. Wait \d+ seconds\.")).wait_for()
    assert context.cookies() == []
    answer = page.request.post(f"{base}/sign-in", form={"password": "right one"}, max_redirects=0)
    assert answer.status == 429
    # The link of whoever may read the state folder is no password, and still opens the page.
    page.goto(f"{base}/?token={proxy.fresh_facts()['token']}")
    page.get_by_role("heading", name="Overview").wait_for()
    context.close()
