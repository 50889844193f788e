"""The ways into the review page of a running proxy, and every one that is closed: links, sites, names, the proxy, guesses."""

import re

import pytest
from argon2 import PasswordHasher

from e2e.processes import make_certificate, wait_for
from e2e.review.visits import curl, review
from proxykit.site import serving
from secondlook.review.session import COOKIE, DEVICE


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

    def answer(handler):
        handler.send_response(200)
        handler.send_header("content-type", "text/html")
        handler.end_headers()
        handler.wfile.write(html)

    with serving(answer) as url:
        yield url


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
    token = proxy.fresh_facts()["token"]
    context = browser.new_context()
    answer = context.new_page().goto(f"http://rebound.evil.example:{proxy.review_port}/?token={token}")
    assert answer.status == 421
    context.close()
    assert proxy.fresh_facts()["token"] == token


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "2130706433", "0x7f.1", "127.1", "0.0.0.0"],
)
def test_the_proxy_does_not_carry_requests_to_it(proxy, host):
    port = proxy.review_port
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
    cookies = {cookie.pop("name"): cookie for cookie in context.cookies()}
    assert {name.rpartition("_")[0] for name in cookies} == {COOKIE, DEVICE}  # behind it stands the port
    for cookie in cookies.values():
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{base}/sign-in")
    context.close()

    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    for guess in range(5):
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
