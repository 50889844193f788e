"""Settings of a server: the administrator's page, and what is done with findings."""

import pytest

from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_server_settings
from secondlook.core.lists.feed_format import Format

HASH = "$argon2id$v=19$m=8,t=1,p=1$YWJjZGVmZ2g$YWJjZGVmZ2hpamtsbW5vcA"


def load(*overrides, **options):
    return load_server_settings(None, overrides=list(overrides), **options)


def test_findings_are_asked_about_unless_the_operator_says_otherwise():
    assert load().findings == "ask"
    assert [load(f"findings={mode}").findings for mode in ("auto", "off")] == ["auto", "off"]
    with pytest.raises(InvalidConfigError, match=r"findings: expected .*auto.*ask.*off"):
        load("findings=yes")


def test_the_page_needs_a_hash_and_off_loopback_tls():
    assert load(f"admin.password={HASH}").admin.password == HASH
    with pytest.raises(InvalidConfigError, match=r"admin\.password: expected the hash of a password"):
        load("admin.password=secret")
    with pytest.raises(InvalidConfigError, match=r"admin: expected tls, as 0\.0\.0\.0:5274 is open"):
        load(f"admin.password={HASH}", "tokens=[abc]", listen=["0.0.0.0:5274"])
    with pytest.raises(InvalidConfigError, match="expected none on a replica"):
        load(f"admin.password={HASH}", "upstream={url: https://sps.example}")


def test_rules_are_no_feed_of_a_server():
    with pytest.raises(InvalidConfigError, match=r"rules belong into proxy\.yaml"):
        load("feeds=[{name: r, format: yara, url: 'https://rules.example/all.yar'}]")


def test_the_format_of_a_feed_is_one_that_there_is():
    for form in ("auto", *Format):
        feed = f"feeds=[{{name: a, url: 'https://list.example/', format: {form}}}]"
        assert load(feed).feeds[0].format == form
    with pytest.raises(
        InvalidConfigError, match=r"feeds\.0\.format: expected a format: auto, plain, hosts, .*got 'hostz'"
    ):
        load("feeds=[{name: a, url: 'https://list.example/', format: hostz}]")
    with pytest.raises(InvalidConfigError, match=r"feeds\.0\.format: expected guard: true beside it"):
        load("feeds=[{name: a, url: 'https://list.example/', format: toplist}]")
