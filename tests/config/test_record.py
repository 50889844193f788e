"""Settings of what is kept and reported: short forms, and what is refused."""

import pytest

from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_settings


def load(tmp_path, text):
    path = tmp_path / "proxy.yaml"
    path.write_text(text)
    return load_settings(path)


def test_no_notices_at_all_is_one_word(tmp_path):
    notify = load(tmp_path, "notify: false\n").notify
    assert (notify.urls, notify.desktop, notify.alerts) == ((), False, False)
    assert load(tmp_path, "{}").notify.desktop


def test_a_list_of_addresses_is_where_notices_go(tmp_path):
    notify = load(tmp_path, "notify: ['json://localhost:9/']\n").notify
    assert ([str(url) for url in notify.urls], notify.alerts) == (["json://localhost:9/"], True)


@pytest.mark.parametrize("url", ["default", "sqlite:////var/lib/ledger.db", "postgresql://user@host/ledger"])
def test_where_a_ledger_may_be(tmp_path, url):
    assert load(tmp_path, f"ledger: {{url: '{url}'}}\n").ledger.url == url


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ledger: {url: 'mysql://host/x'}", "ledger.url"),
        ("ledger: {url: 5}", "ledger.url"),
        ("ledger: {url: sqlite://relative.db}", "ledger.url"),
        ("ledger: {deadline: 0}", "ledger.deadline"),
        ("ledger: {synchronous: off}", "ledger.synchronous"),
        ("log: {privacy: 4}", "log.privacy"),
        ("log: {ignore: [a b]}", "log.ignore"),
        ("log: {syslog: {facility: mail}}", "log.syslog.facility"),
        ("log: {webhook: {url: 'ftp://x/'}}", "log.webhook.url"),
        ("block_page: {language: sv}", "block_page.language"),
        ("block_page: {default: auto}", "block_page.default"),
    ],
)
def test_what_is_refused_is_named(tmp_path, text, key):
    with pytest.raises(InvalidConfigError) as caught:
        load(tmp_path, text + "\n")
    assert key in str(caught.value)
