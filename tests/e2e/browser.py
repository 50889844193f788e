"""Real Chromium (Debian's, headless), driven by Playwright."""

import contextlib
from collections.abc import Iterator

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
    "--disable-features=DnsOverHttps,WebUIOmniboxPopup,WebUIOmniboxFullPopup,WebUIOmniboxAimPopup",
)


@contextlib.contextmanager
def chromium(*options: str, env: dict[str, str | float | bool] | None = None) -> Iterator[Browser]:
    """Start Chromium; it ends with the block."""
    program = needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *options], env=env)
        try:
            yield browser
        finally:
            browser.close()
