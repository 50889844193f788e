"""A real browser behind the proxy: block pages, downloads that fail, videos that seek (15 s)."""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from playwright.sync_api import Browser, BrowserContext, Error, Page

from e2e.axe import faults
from e2e.browser import QUIET, chromium
from e2e.origin import origin
from e2e.processes import Proxy, command, curl, make_certificate, needs, wait_for
from e2e.video import video

pytestmark = pytest.mark.browser

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
CONFIG = "workers: 1\nfeeds: [{name: test, builtin: test}]\nmitmproxy: {ssl_insecure: true}\n"
# Chromium goes to loopback without its proxy unless told otherwise
MORE = 'a[href*="/blocked/"]'
THEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
THROUGH = ("--proxy-bypass-list=<-loopback>", "--ignore-certificate-errors")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("browsed")
    config = folder / "proxy.yaml"
    config.write_text(CONFIG)
    running = Proxy(folder / "state", config)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One that holds origins to their certificates, with two workers."""
    folder = tmp_path_factory.mktemp("strict")
    config = folder / "proxy.yaml"
    config.write_text("workers: 2\nfeeds: [{name: test, builtin: test}]\n")
    running = Proxy(folder / "state", config)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*THROUGH, "--autoplay-policy=no-user-gesture-required") as found:
        yield found


@pytest.fixture
def context(proxy: Proxy, browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Give a function that makes what a person sees who has just installed the browser."""
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        made.append(browser.new_context(proxy={"server": proxy.url}, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def wary(strict: Proxy, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Give a function that opens a window of a browser that trusts no authority but that of `strict`."""
    options = [*QUIET, THROUGH[0], f"--ignore-certificate-errors-spki-list={_authority_key(strict)}"]
    with browser.browser_type.launch(executable_path=needs("chromium"), args=options) as found:

        def open_window(proxy: Proxy, **options: Any) -> Page:
            return found.new_context(proxy={"server": proxy.url}, **options).new_page()

        yield open_window


def _screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("SECONDLOOK_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def _in_each_theme(page: Page, name: str) -> Iterator[None]:
    """Go through the themes; of a page without script they change the style, and nothing else."""
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        _screenshot(page, f"{name}-{theme}")
        yield


def _authority_key(proxy: Proxy) -> str:
    """Name the key of our authority as Chromium's switch does that trusts it and no other."""
    key = load_pem_x509_certificate(proxy.ca.read_bytes()).public_key()
    found = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(found).digest()).decode()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_block_page_is_shown_and_leads_to_its_details(context, scheme):
    page = context(viewport={"width": 900, "height": 760}).new_page()
    answer = page.goto(f"{scheme}://phishing.secondlook.test/login")
    assert answer is not None
    assert answer.status == 403
    for _ in _in_each_theme(page, f"blocked-{scheme}"):
        assert page.locator("h1").inner_text() == "This may be a deception"
        assert page.locator("a.button").inner_text() == "Go back"
        assert not page.locator("details").get_attribute("open")
    page.locator("summary").click()
    for _ in _in_each_theme(page, f"blocked-details-{scheme}"):
        assert "phishing.secondlook.test/login" in page.locator("details").inner_text()
    page.get_by_text("Let me through for 10 minutes").click()
    page.wait_for_url("https://secondlook.internal/blocked/*")
    for _ in _in_each_theme(page, f"about-{scheme}"):
        assert page.get_by_text("Open it for 10 minutes anyway").is_visible()


@pytest.mark.parametrize(
    ("locale", "direction", "title", "let_through", "about"),
    [
        ("de-AT", "ltr", "Das könnte eine Täuschung sein", "Für 10 Minuten trotzdem", "Über diese Sperre"),
        ("ar-EG", "rtl", "قد يكون هذا خداعًا", "اسمح لي بالمرور لمدة 10 دقائق", "حول هذا الحظر"),
    ],
)
def test_pages_are_in_the_language_of_the_browser(context, locale, direction, title, let_through, about):
    """On a phone, whichever way the text runs. Where scripts can run at all, axe finds no fault."""
    page = context(locale=locale, viewport={"width": 360, "height": 740}).new_page()
    page.goto("https://phishing.secondlook.test/login")
    for heading, name in ((title, "blocked"), (about, "about")):
        page.get_by_role("heading", name=heading, exact=True).wait_for()
        assert page.locator("html").get_attribute("lang") == locale[:2]
        assert page.locator("html").get_attribute("dir") == direction
        box = page.locator("main").bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= 360
        _screenshot(page, f"{name}-{locale}")
        if name == "blocked":
            page.get_by_role("link", name=let_through).click()
    assert faults(page) == []


@pytest.mark.parametrize("locale", ["en-GB", "de-AT", "ar-EG"])
@pytest.mark.parametrize("subject", ["phishing.secondlook.test/login", "malware.secondlook.test/a.exe"])
def test_axe_finds_no_fault_in_the_block_page(context, subject, locale):
    """Under its own policy (CSP `sandbox`) no timer fires, and axe waits for ever: it sees the page without it.

    The page has no script: of a window and a theme it takes notice by its style alone.
    """
    page = context(locale=locale).new_page()
    policies = []

    def without_policy(route: Any) -> None:
        answer = route.fetch()
        headers = dict(answer.headers)
        policies.append(headers.pop("content-security-policy"))
        route.fulfill(response=answer, headers=headers)

    page.route(f"http://{subject}", without_policy)
    answer = page.goto(f"http://{subject}")
    assert answer is not None
    assert answer.status == 403
    assert "sandbox" in policies[0]
    assert page.locator("script").count() == 0
    page.locator("summary").first.click()  # what is folded away is looked at too
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 740})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
            assert faults(page) == [], (width, theme)


def test_go_back_leads_to_the_very_page_that_led_there(proxy, wary, plain_origin):
    """No certificate of ours is trusted here: going back must not need one."""
    links = (
        f'<a id="{scheme}" href="{scheme}://malware.secondlook.test/x">go</a>' for scheme in ("http", "https")
    )
    plain_origin.pages["/article"] = ("text/html", "".join(links).encode())
    article = plain_origin.url("/article", host="localhost")
    page = wary(proxy)
    for scheme in ("http", "https"):
        page.goto(article)
        page.click(f"#{scheme}")
        if scheme == "https":
            page.wait_for_selector("#details-button")  # the browser's own warning
            page.keyboard.type("thisisunsafe")  # and its way past it
        page.get_by_role("link", name="Go back").click()
        page.wait_for_url(article)


def test_a_block_is_opened_for_a_while_by_its_form(strict, browser, plain_origin):
    proxy: Proxy = strict  # not that of the others: what is opened is open for them too
    plain_origin.pages["/page"] = ("text/html", b"<h1>the page itself</h1>")
    url = plain_origin.url("/page", host="localhost")
    proxy.command("block", url)
    wait_for(lambda: proxy.each_worker(lambda: proxy.curl(url).status) == {403}, "the block")
    page = browser.new_context(proxy={"server": proxy.url}).new_page()
    page.goto(url)
    # a rule of the operator is not for users to lift
    assert page.get_by_text("Let me through").count() == 0
    page.get_by_text("This is a mistake").click()
    page.get_by_text("No exception can be made here").wait_for()
    page.goto("http://phishing.secondlook.test/login")
    page.get_by_text("Let me through for 10 minutes").click()
    page.get_by_role("button", name="Open it").click()
    page.get_by_text("Open for you for 10 minutes").first.wait_for()
    (rule,) = [rule for rule in proxy.json("rules", "list") if rule["action"] == "allow"]
    assert rule["client"] == "127.0.0.1"
    assert rule["expires"]


def test_a_certificate_that_does_not_hold_is_let_pass_and_the_browser_warns(strict, wary, tmp_path):
    """By the keyboard alone, without JavaScript, with two workers."""
    with origin(certificate=make_certificate(tmp_path, "localhost", "127.0.0.1")) as own:
        url = f"https://127.0.0.1:{own.port}/"
        page = wary(strict, java_script_enabled=False, viewport={"width": 900, "height": 760})
        page.goto(url)
        for _ in _in_each_theme(page, "certificate"):
            assert "issued it itself" in page.locator("p").first.inner_text()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("https://secondlook.internal/unopened/*")
        for _ in _in_each_theme(page, "unopened"):
            assert page.locator("h1").is_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        passed = page.get_by_role("heading", name="Passed through for you for 10 minutes")
        passed.wait_for()
        for _ in _in_each_theme(page, "passed"):
            assert passed.is_visible()
        unopened = [curl(url, "-x", strict.url, "--cacert", str(strict.ca)).exit for _ in range(12)]
        assert unopened == [60] * 12, "whichever worker it meets"  # curl's: not trusted
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#details-button")  # the browser's own warning
        page = wary(strict)
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            page.goto(url)
        page.wait_for_selector("#details-button")
        page.keyboard.type("thisisunsafe")  # its way past, which needs its own script
        page.get_by_role("heading", name="origin").wait_for()
    (told,) = strict.json_when(bool, "log", "--kind", "overridden", "--host", "127.0.0.1")
    assert (told["client"], told["host"], told["stage"]) == ("127.0.0.1", "127.0.0.1", "passthrough")
    assert "passed through unopened until 2" in told["detail"]
    (passage,) = strict.json("status")[0]["passed_through"]
    assert (passage["why"], passage["since"]) == ("exception", told["time"])


def test_hostile_addresses_are_only_text(context):
    hostile = (
        "http://phishing.secondlook.test/login?<script>document.title='owned'</script>&x=\u202egnp.exe"
        + "y" * 3000
    )
    page = context().new_page()
    page.goto(hostile)
    assert page.title().startswith("Blocked")
    assert page.locator("script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    _screenshot(page, "hostile")


def test_parts_of_a_page_get_fitting_refusals(context, plain_origin):
    plain_origin.pages["/page"] = (
        "text/html",
        b"""<img id=i src="http://malware.secondlook.test/x.png"><script src="http://malware.secondlook.test/x.js">
        </script><link rel=stylesheet href="http://malware.secondlook.test/x.css"><p>here</p>""",
    )
    seen: dict[str, tuple[int, str]] = {}
    page = context().new_page()
    page.on(
        "response",
        lambda answer: seen.update({answer.url: (answer.status, answer.headers.get("content-type", ""))}),
    )
    page.goto(plain_origin.url("/page", host="localhost"))
    assert page.locator("p").inner_text() == "here"
    assert seen["http://malware.secondlook.test/x.png"] == (403, "image/png")
    assert seen["http://malware.secondlook.test/x.js"] == (403, "text/javascript")
    assert seen["http://malware.secondlook.test/x.css"] == (403, "text/css")


def test_the_block_page_is_shown_where_a_service_worker_asks_in_place_of_the_page(
    context, proxy, plain_origin
):
    plain_origin.pages["/app"] = ("text/html", b"<p>here</p>")
    plain_origin.pages["/worker.js"] = (
        "text/javascript",
        b"onfetch = event => event.respondWith(fetch(event.request)); onactivate = event => event.waitUntil(clients.claim())",
    )
    blocked = plain_origin.url("/app/blocked", host="localhost")
    proxy.command("block", blocked)
    wait_for(lambda: proxy.curl(blocked).status == 403, "the block")
    page = context().new_page()
    page.goto(plain_origin.url("/app", host="localhost"))
    page.evaluate(
        """() => new Promise(controlled => {
            navigator.serviceWorker.oncontrollerchange = controlled;
            navigator.serviceWorker.register("/worker.js");
        }).then(() => null)"""
    )
    answer = page.goto(blocked)
    assert answer is not None
    assert answer.from_service_worker
    page.get_by_role("heading", name="Blocked by a rule of this network").wait_for(timeout=10_000)


@pytest.mark.parametrize("size", [5_000_000, 20_000_000])
def test_a_listed_download_fails_and_leaves_no_file(context, proxy, plain_origin, tmp_path, size):
    body = b"MZ" + os.urandom(1 << 16) * (size >> 16)
    bad = tmp_path / "bad.exe"
    bad.write_bytes(body)
    plain_origin.pages["/bad.exe"] = ("application/x-msdownload", body)
    plain_origin.pages["/good.exe"] = ("application/x-msdownload", body + b"good")
    plain_origin.pages["/"] = (
        "text/html",
        f"<a href=/bad.exe?{size} download>bad</a> <a href=/good.exe download>good</a>".encode(),
    )
    digest = command(
        "check", bad, "--file", "--offline", "--json", "-c", proxy.config, "--state", proxy.state
    )
    sha256 = re.search(r"\b[0-9a-f]{64}\b", digest.stdout)
    assert sha256 is not None
    proxy.command("block", sha256[0])
    plain_origin.pages["/same.exe"] = plain_origin.pages[
        "/bad.exe"
    ]  # what is refused is refused by its URL then
    same = plain_origin.url(f"/same.exe?{size}", host="localhost")
    wait_for(lambda: proxy.curl(same, "--fail").exit != 0, "the block")
    page = context(accept_downloads=True).new_page()
    page.goto(plain_origin.url("/", host="localhost"))
    with page.expect_download(timeout=60_000) as good:
        page.get_by_text("good").click()
    assert good.value.failure() is None
    assert Path(good.value.path()).read_bytes() == body + b"good"
    with page.expect_download(timeout=60_000) as found:
        page.get_by_text("bad").click()
    assert found.value.failure() is not None


def test_a_video_element_seeks_through_ranges(context):
    with video() as (url, ranges):
        page = context().new_page()
        page.goto(url)
        page.wait_for_function("document.getElementById('a').readyState >= 1")
        at = page.evaluate(
            "new Promise(done => {const a = document.getElementById('a');"
            "a.onseeked = () => done(a.currentTime); a.currentTime = 500})"
        )
        assert at == pytest.approx(500, abs=1)
        assert len(ranges) >= 2
        assert any(re.match(r"bytes=[1-9]", asked) for asked in ranges)
