"""What the stories of the review page share: its address, requests through its proxy, sites beside it."""

import re
import subprocess

from playwright.sync_api import Page

from e2e.processes import Proxy

BLOCKED = "http://malware.secondlook.test/page"


def review(proxy: Proxy) -> str:
    """Return the address of the review page."""
    return f"http://{proxy.facts['review']}"


def curl(proxy: Proxy, *arguments: str) -> str:
    """Ask through a proxy, whatever the environment says; return status and `X-Second-Look`."""
    command = ["curl", "-sS", "--noproxy", "", "-x", proxy.url]
    shown = ["-o", "/dev/null", "-w", "%{http_code} %header{x-second-look}"]
    return subprocess.run(
        [*command, *shown, *arguments], capture_output=True, text=True, timeout=60, check=False
    ).stdout


def first_event(page: Page) -> str:
    """Open the entry of a block; return the identifier of its event."""
    page.goto("/log?decision=block&host=malware.secondlook.test")
    page.locator("tbody a").first.click()
    page.wait_for_url(re.compile("/log/[0-9A-Z]{26}$"))
    return page.url.rpartition("/")[2]
