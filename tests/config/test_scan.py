"""Settings of the engines: what is refused, and in which words."""

import pytest

from secondlook.config import InvalidConfigError, load_settings


def load(tmp_path, text):
    path = tmp_path / "proxy.yaml"
    path.write_text(text)
    return load_settings(path).scan


def test_without_a_word_nothing_but_our_own_rules_looks(tmp_path):
    scan = load(tmp_path, "scan: {}\n")
    assert scan.yara.rules == ()
    assert scan.remember == 50_000


def test_rules_lie_beside_the_configuration(tmp_path):
    scan = load(tmp_path, "scan:\n  yara: {rules: [rules, /etc/yara/x.yar], timeout: 2s, max_bytes: 1 MiB}\n")
    assert [str(path) for path in scan.yara.rules] == [str(tmp_path / "rules"), "/etc/yara/x.yar"]
    assert (scan.yara.timeout, scan.yara.max_bytes) == (2.0, 1 << 20)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("scan: {yara: {timeout: 0}}", "scan.yara.timeout"),
        ("scan: {yara: {rules: [1]}}", "scan.yara.rules"),
        ("scan: {remember: -1}", "scan.remember"),
        ("scan: {clamav: x}", "scan.clamav"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(tmp_path, text, key):
    with pytest.raises(InvalidConfigError) as caught:
        load(tmp_path, text + "\n")
    assert key in str(caught.value)
