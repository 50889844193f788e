"""A browser behind the proxy: which one, with which switches, and what it must not go round by."""

import pytest

from secondlook.setup import browser, tool


@pytest.mark.parametrize(
    ("installed", "wanted", "found"),
    [
        ({"firefox", "chromium"}, None, "chromium"),
        ({"firefox"}, None, "firefox"),
        ({"firefox", "chromium"}, "firefox", "firefox"),
        ({"firefox"}, "chromium", None),
        (set(), None, None),
    ],
)
def test_the_wanted_browser_or_the_first_that_is_installed(monkeypatch, installed, wanted, found):
    monkeypatch.setattr(tool, "has", installed.__contains__)
    assert browser.find(wanted) == found


def test_chromium_goes_round_the_proxy_neither_by_quic_nor_by_loopback(tmp_path):
    words = browser.command("/usr/bin/chromium", tmp_path, "::1", 8080, "http://a.test/")
    assert words[0] == "/usr/bin/chromium"
    assert words[-1] == "http://a.test/"
    assert {
        "--proxy-server=http://[::1]:8080", "--proxy-bypass-list=<-loopback>", "--disable-quic", f"--user-data-dir={tmp_path}",
    } <= set(words)  # fmt: skip


def test_firefox_has_its_settings_in_its_profile(tmp_path, monkeypatch):
    trusted = []
    monkeypatch.setattr(
        browser.NssStore, "add", lambda store, certificate: trusted.append((store.folder, certificate))
    )
    browser.prepare("/usr/bin/firefox", tmp_path / "ca.pem", tmp_path, "127.0.0.1", 8080)
    assert trusted == [(str(tmp_path), tmp_path / "ca.pem")]
    preferences = (tmp_path / "user.js").read_text()
    for line in (
        '"network.proxy.ssl", "127.0.0.1"',
        '"network.proxy.ssl_port", 8080',
        '"network.trr.mode", 5',
    ):
        assert f"user_pref({line});" in preferences
    words = browser.command("/usr/bin/firefox", tmp_path, "127.0.0.1", 8080, "http://a.test/")
    assert words == ["/usr/bin/firefox", "--no-remote", "--profile", str(tmp_path), "http://a.test/"]


def test_a_chromium_gets_no_file_of_firefox(tmp_path):
    browser.prepare("chromium", tmp_path / "ca.pem", tmp_path, "127.0.0.1", 8080)
    assert list(tmp_path.iterdir()) == []
