"""Ways round the proxy are found: in the system's own tables of connections, and in browsers' settings."""

import os
import socket
import sys

import pytest

from secondlook.run.diagnosis import bypass

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
# 192.0.2.7:443 and the resolver 1.1.1.1:443, as proc(5) prints them
QUIC = (
    "  1: 0100007F:C350 070200C0:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 4711 2 0 0\n"
)
DOH = "  2: 0100007F:C351 01010101:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 4712 2 0 0\n"
OVER = DOH.replace(" 01 00000000", " 06 00000000")  # TIME_WAIT
QUIC6 = (
    "  3: 00000000000000000000000000000000:C352 B80D0120000000000000000001000000:01BB 01 00000000:00000000 "
    "00:00000000 00000000  1000        0 4713 2 0 0\n"
)


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "net").mkdir()
    holder = tmp_path / "77"
    (holder / "fd").mkdir(parents=True)
    (holder / "comm").write_text("chromium\n")
    (holder / "fd/5").symlink_to("socket:[4711]")
    return tmp_path


def tables(proc, **texts):
    for name, text in texts.items():
        (proc / "net" / name).write_text(HEAD + text)


def told(proc, ours=frozenset()):
    return [each.text for each in bypass.connections(ours=set(ours), proc=proc, lasting_s=0)]


def test_quic_is_found_with_its_program(proc):
    tables(proc, udp=QUIC, udp6=QUIC6)
    assert told(proc) == [
        "chromium talks QUIC to 192.0.2.7 past the proxy",
        "a program talks QUIC to 2001:db8::1 past the proxy",
    ]


def test_encrypted_dns_is_found(proc):
    tables(proc, tcp=DOH)
    assert told(proc) == ["a program asks 1.1.1.1 for names past the proxy (encrypted DNS)"]


def test_ours_and_what_is_over_is_no_bypass(proc):
    tables(proc, udp=QUIC, tcp=OVER)
    assert told(proc, {77}) == []


def test_a_socket_that_is_gone_a_moment_later_is_no_bypass(proc, monkeypatch):
    """So look the sockets with which a resolver sorts addresses."""
    tables(proc, udp=QUIC, tcp=DOH)
    monkeypatch.setattr(bypass.time, "sleep", lambda _: tables(proc, udp="", tcp=DOH))
    assert told(proc) == ["a program asks 1.1.1.1 for names past the proxy (encrypted DNS)"]


@pytest.mark.skipif(sys.platform != "linux", reason="proc(5)")
def test_the_real_tables_are_understood():
    """A connected UDP socket of this very process; connecting one sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quic:
        try:
            quic.connect(("192.0.2.7", 443))
        except OSError:
            pytest.skip("no route to anywhere")
        found = [each.text for each in bypass.connections(ours=set())]
        assert any("talks QUIC to 192.0.2.7" in each for each in found)
        found = [each.text for each in bypass.connections(ours={os.getpid()})]
        assert not any("192.0.2.7" in each for each in found)


@pytest.mark.parametrize(("mode", "count"), [(2, 1), (3, 1), (5, 0), (0, 0)])
def test_firefox_settings(tmp_path, mode, count):
    profile = tmp_path / ".mozilla/firefox/abc.default"
    profile.mkdir(parents=True)
    (profile / "prefs.js").write_text(f'user_pref("a.b", 1);\nuser_pref("network.trr.mode", {mode});\n')
    assert len(list(bypass.settings_of_browsers(tmp_path))) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('{"dns_over_https": {"mode": "secure"}}', 1),
        ('{"dns_over_https": {"mode": "automatic"}}', 0),
        ("{}", 0),
        ("[]", 0),
        ("broken", 0),
    ],
)
def test_chromium_settings(tmp_path, text, count):
    folder = tmp_path / ".config/chromium"
    folder.mkdir(parents=True)
    (folder / "Local State").write_text(text)
    assert len(list(bypass.settings_of_browsers(tmp_path))) == count
