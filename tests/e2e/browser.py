"""Real Chromium (Debian's, headless), driven by Playwright."""

import contextlib
from collections.abc import Callable, Iterator

from playwright.sync_api import Browser, sync_playwright

from e2e.processes import needs

# Without these Chromium calls home at every start, many connections at a time.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The lists under the line for addresses are pages too, made anew for each window: half of what one costs.
    # Nor is a process kept ready for a page that nobody opens.
    "--disable-features=DnsOverHttps,WebUIOmniboxPopup,WebUIOmniboxFullPopup,WebUIOmniboxAimPopup,SpareRendererForSitePerProcess",
)


@contextlib.contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """Start Chromium; it ends with the block."""
    with chromiums() as start, start(*options) as browser:
        yield browser


@contextlib.contextmanager
def chromiums() -> Iterator[Callable[..., contextlib.AbstractContextManager[Browser]]]:
    """Give a function that starts Chromium for a block: what drives it costs as much as its start, and is one for all."""
    program = needs("chromium")
    with sync_playwright() as playwright:

        @contextlib.contextmanager
        def start(*options: str, env: dict[str, str | float | bool] | None = None) -> Iterator[Browser]:
            browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *options], env=env)
            try:
                yield browser
            finally:
                browser.close()

        yield start
