"""`secondlook setup ca` for real: system store, Chromium and Firefox accept the authority, and no longer after `off`."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Error

from e2e.browser import QUIET, chromiums
from e2e.processes import Proxy, command, needs, wait_for
from secondlook.setup import browser

HOST = "https://malware.secondlook.test"
# Without these Firefox calls home at every start, and the proxy waits at its end for what it asked there.
SILENT = {
    "services.settings.server": '"data:,#remote-settings-dummy/v1"',
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
    "dom.push.connection.enabled": "false",
    "app.normandy.enabled": "false",
    "app.update.enabled": "false",
    "extensions.update.enabled": "false",
    "browser.topsites.contile.enabled": "false",
    "browser.newtabpage.enabled": "false",
    "browser.newtabpage.activity-stream.feeds.topsites": "false",
    "browser.newtabpage.activity-stream.unifiedAds.tiles.enabled": "false",
    "browser.newtabpage.activity-stream.feeds.section.topstories": "false",
    "browser.safebrowsing.update.enabled": "false",
    "security.certerrors.mitm.priming.enabled": "false",
    "security.remote_settings.crlite_filters.enabled": "false",
    "security.remote_settings.intermediates.enabled": "false",
    "datareporting.policy.dataSubmissionEnabled": "false",
    "toolkit.telemetry.server": '"data:,"',
    "media.gmp-manager.updateEnabled": "false",
    "browser.region.network.url": '""',
    "datareporting.healthreport.uploadEnabled": "false",
}
REFUSES = "does not trust the proxy's certificate for malware.secondlook.test"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust")
    config = folder / "proxy.yaml"
    config.write_text("workers: 1\nfeeds: []\n")
    running = Proxy(folder / "state", config)
    yield running
    running.stop()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give a home, and a temporary folder of its own: other tests start browsers too, and `off` looks there."""
    needs("certutil")
    folder = tmp_path / "home"
    folder.mkdir()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as short:  # a browser's sockets stand there
        monkeypatch.setenv("TMPDIR", short)
        yield folder


def setup(proxy, home, *arguments, check=True):
    place = ("-c", proxy.config, "--state", proxy.state)
    done = command("setup", *arguments, *place, env={**os.environ, "HOME": str(home)}, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def seen(proxy, path):
    return [event for event in proxy.json("log", "--kind", "blocked") if event["url"] == f"{HOST}{path}"]


def curl_trusts(proxy):
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
        "%{http_code}",
        f"{HOST}/curl",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout == "403"


def chromium_status(start, proxy, home, path):
    environment = {**os.environ, "HOME": str(home)}
    with start(f"--proxy-server={proxy.url}", env=environment) as found:
        page = found.new_page()
        try:
            return page.goto(f"{HOST}{path}").status
        except Error as error:
            assert "ERR_CERT_AUTHORITY_INVALID" in str(error)  # noqa: PT017 (one outcome of two)
            return None


def firefox(home, profile, url):
    return subprocess.Popen(
        ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile), url],
        env={**os.environ, "HOME": str(home), "MOZ_HEADLESS": "1", "MOZ_REMOTE_SETTINGS_DEVTOOLS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def profile(proxy, home):
    """Make a real Firefox profile, as Firefox itself does at its first start."""
    needs("firefox-esr")
    folder = home / ".mozilla/firefox/test.default"
    folder.mkdir(parents=True)
    silent = "".join(f'user_pref("{name}", {value});\n' for name, value in SILENT.items())
    (folder / "user.js").write_text(
        browser._FIREFOX_PREFERENCES.format(host="127.0.0.1", port=proxy.port) + silent
    )
    process = firefox(home, folder, "about:blank")
    try:
        wait_for(lambda: (folder / "cert9.db").exists() or None, "Firefox's own certificate store")
        time.sleep(1)
    finally:
        process.terminate()
        process.wait(60)
    return folder


def firefox_sees(proxy, home, profile, path):
    """Whether Firefox gets as far as the page; it has refused our certificate otherwise."""
    refusals = proxy.output.count(REFUSES)
    process = firefox(home, profile, f"{HOST}{path}")
    try:
        wait_for(lambda: seen(proxy, path) or proxy.output.count(REFUSES) > refusals, "what Firefox does")
        return bool(seen(proxy, path))
    finally:
        process.terminate()
        process.wait(60)


def test_what_is_on_this_machine_trusts_the_authority_and_no_longer_after_off(proxy, home, profile):
    """Set up once and taken back once for all of them; only root may change the system's store."""
    root = os.geteuid() == 0
    with chromiums() as start:
        assert not curl_trusts(proxy)
        assert chromium_status(start, proxy, home, "/before") is None
        setup(proxy, home, "ca", check=root)
        assert curl_trusts(proxy) == root
        assert chromium_status(start, proxy, home, "/trusted") == 403
        assert firefox_sees(proxy, home, profile, "/trusted-by-firefox")
        setup(proxy, home, "off", check=root)
        assert not curl_trusts(proxy)
        assert chromium_status(start, proxy, home, "/after") is None
        assert not firefox_sees(proxy, home, profile, "/after-off")


def test_setup_browser_starts_a_fresh_profile_that_is_filtered(proxy, home):
    needs("chromium")
    done = setup(
        proxy,
        home,
        "browser",
        "chromium",
        "--url",
        f"{HOST}/fresh",
        *(f"--option={option}" for option in ("--headless", *QUIET)),
    )
    folder = Path(done.stdout.split(" in ")[1].split(";")[0])
    try:
        wait_for(lambda: seen(proxy, "/fresh") or None, "the browser's request in the log")
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if f"--user-data-dir={folder}" in (process.info["cmdline"] or []):
                process.terminate()
    wait_for(lambda: not folder.exists(), "the profile's end with its browser", 60)
    assert not (home / ".pki").exists()  # trust is for that one process
