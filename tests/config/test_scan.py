"""Settings of the engines: what is refused, and in which words."""

import pytest

from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_settings


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
        ("scan: {remember: 0}", "scan.remember"),
        ("scan: {clamav: x}", "scan.clamav"),
        ("scan: {clamd: 5}", "scan.clamd"),
        ("scan: {clamd: {timeout: 1s}}", "scan.clamd.address"),
        ("scan: {clamd: clamd.ctl}", "scan.clamd"),
        ("scan: {clamd: 'localhost:0'}", "scan.clamd"),
        ("scan: {clamd: {address: 'localhost:70000'}}", "scan.clamd.address"),
        ("scan: {clamd: {address: '192.0.2.1:3310'}}", "scan.clamd.address"),
        ("scan: {clamd: {address: /x, at_once: 0}}", "scan.clamd.at_once"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(tmp_path, text, key):
    with pytest.raises(InvalidConfigError) as caught:
        load(tmp_path, text + "\n")
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address", "network"),
    [
        ("/run/clamav/clamd.ctl", "/run/clamav/clamd.ctl", None),
        ("unix:/run/clamav/clamd.ctl", "/run/clamav/clamd.ctl", None),
        ("127.0.0.1:3310", "127.0.0.1:3310", ("127.0.0.1", 3310)),
        ("'[::1]:3310'", "[::1]:3310", ("::1", 3310)),
        ("{address: '192.0.2.1:3310', insecure: true}", "192.0.2.1:3310", ("192.0.2.1", 3310)),
    ],
)
def test_where_clamd_listens(tmp_path, text, address, network):
    clamd = load(tmp_path, f"scan: {{clamd: {text}}}\n").clamd
    assert (clamd.address, clamd.network) == (address, network)


@pytest.mark.parametrize("text", ["false", "", "null"])
def test_without_clamd(tmp_path, text):
    assert load(tmp_path, f"scan:\n  clamd: {text}\n").clamd is None
