"""Faults in the accessibility of a page, as axe finds them in a real browser."""

from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
RUN = "axe.run({resultTypes: ['violations']}).then((found) => found.violations)"  # of others one place each


def faults(page: Page) -> list[dict[str, Any]]:
    """Return what is wrong with a page as it is shown now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)  # by the debugger: the page's own policy would refuse it
    found: list[dict[str, Any]] = page.evaluate(RUN)
    return found
