"""`secondlook setup` as a person calls it, in a home folder of its own."""

import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from cli.calling import on
from secondlook.cli.setup import setup
from secondlook.ground.first_steps import FirstSteps, Step
from secondlook.run.authority import make_authority
from secondlook.setup import authority, profile
from secondlook.setup.journal import CERTIFICATE, Change, Journal, is_trusted


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    monkeypatch.setattr(authority, "LINUX_STORES", ((str(anchors), ("true",)),))
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(
        setup.app, [*arguments, "--state", "state"] if arguments else ["--state", "state"]
    )


def test_trust_and_off_leave_no_trace(home):
    assert "nothing is set up" in call().output
    trusted = call("ca")
    assert trusted.exit_code == 0, trusted.output
    assert len(list((home / "anchors").iterdir())) == 1
    assert "set up: ca" in call().output
    off = call("off")
    assert off.exit_code == 0, off.output
    assert list((home / "anchors").iterdir()) == []
    assert "nothing was set up" in call("off").output


def test_an_authority_from_elsewhere_is_taken_and_half_of_one_is_not(home):
    made = home / "made" / "ca"
    make_authority(made, "ecdsa")
    own = made / "mitmproxy-ca.pem"  # a key and a certificate in one file
    call("ca")
    taken = call("ca", "--import", str(own), "--key", str(own))
    assert taken.exit_code == 0, taken.output
    assert "certificates for sites are signed by" in taken.output
    assert (home / "state/ca/mitmproxy-ca.pem").read_bytes() == own.read_bytes()
    assert list((home / "anchors").iterdir()) == []  # nobody trusts the one that is gone
    assert call("ca", "--import", str(own)).exit_code == 2
    own.write_bytes(b"nothing")
    refused = call("ca", "--import", str(own), "--key", str(own))
    assert "holds no private key in PEM" in str(refused.exception)


@pytest.mark.parametrize(
    "words", [("setup", "ca", "--print"), ("server", "add", "evil.example")], ids=" ".join
)
def test_what_root_makes_belongs_to_whom_the_state_belongs(home, words):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    (home / "state" / "ca").mkdir(parents=True)
    os.chown(home / "state", 65534, 65534)
    on(home / "state", *words)
    made = list((home / "state").rglob("*"))
    assert len(made) > 1
    assert {path.stat().st_uid for path in made} == {65534}


def told(*arguments):
    done = call(*arguments, "--json")
    return done.exit_code, [json.loads(line) for line in done.output.splitlines()]


def test_every_step_as_json(home):
    status, (facts,) = told("ca", "--print")
    assert status == 0
    assert facts["fingerprint"] == authority.fingerprint(home / "state/ca/mitmproxy-ca-cert.pem")
    assert facts["certificate"].startswith("-----BEGIN CERTIFICATE")
    status, steps = told("ca")
    assert status == 0
    assert [step["done"] for step in steps] == [True] * len(steps)
    (shown,) = (json.loads(call_group("--json").output),)
    assert shown["changes"][0]["kind"] == "ca"
    assert shown["pac"] == shown["proxy"] + "/proxy.pac"
    assert [step["done"] for step in told("off")[1]] == [True] * len(steps)
    assert told("off") == (0, [])
    status, (pac,) = told("pac")
    assert "FindProxyForURL" in pac["pac"]


def call_group(*arguments):
    return CliRunner().invoke(setup.app, ["--state", "state", *arguments])


def test_the_printed_certificate_is_the_public_half(home):
    printed = call("ca", "--print").output
    assert "BEGIN CERTIFICATE" in printed
    assert "PRIVATE" not in printed
    assert authority.fingerprint(home / "state/ca/mitmproxy-ca-cert.pem") in printed


def test_renewing_trusts_the_new_one_alone(home):
    call("ca")
    first = authority.fingerprint(home / "state/ca/mitmproxy-ca-cert.pem")
    assert call("ca", "--renew").exit_code == 0
    second = authority.fingerprint(home / "state/ca/mitmproxy-ca-cert.pem")
    assert first != second
    (copied,) = (home / "anchors").iterdir()
    assert second[:12] in copied.name


def test_who_trusts_the_authority_by_hand_is_told_again_only_when_another_replaces_it(home):
    state = home / "state"
    assert not is_trusted(state)
    state.mkdir()
    FirstSteps(state).mark(Step.TRUST)
    call("ca", "--print")
    assert is_trusted(state)
    assert call("ca", "--renew", "--print").exit_code == 0
    assert not is_trusted(state)


@pytest.mark.parametrize("words", [("off",), ("ca", "off")])
def test_who_takes_the_trust_back_is_told_again(home, words):
    assert call("ca").exit_code == 0
    FirstSteps(home / "state").mark(Step.TRUST)  # by a program that goes by those stores
    assert call(*words).exit_code == 0
    assert not is_trusted(home / "state")
    FirstSteps(home / "state").mark(Step.TRUST)
    assert call(*words).exit_code == 0
    assert is_trusted(home / "state"), "what was trusted by hand stays so"


def test_where_a_new_authority_cannot_be_written_the_old_one_stays_and_is_trusted(home, monkeypatch):
    made = home / "made" / "ca"
    make_authority(made, "ecdsa")
    other = str(made / "mitmproxy-ca.pem")
    call("ca")
    before = {path.name: path.read_bytes() for path in (home / "state/ca").iterdir()}

    def full(_):
        raise OSError(28, "No space left on device")

    for words in (("--renew",), ("--import", other, "--key", other)):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            failed = call("ca", *words)
        assert failed.exit_code == 1
        assert "the authority stays as it is: No space left on device" in failed.output
        assert {path.name: path.read_bytes() for path in (home / "state/ca").iterdir()} == before
        assert len(list((home / "anchors").iterdir())) == 1
    assert "set up: ca" in call().output


def test_an_authority_that_could_not_be_distrusted_is_remembered_beside_a_new_one(home, monkeypatch):
    call("ca")
    store = authority.LinuxStore
    monkeypatch.setattr(store, "remove", lambda *_: (_ for _ in ()).throw(PermissionError(13, "not allowed")))
    assert "left" in call("ca", "--renew").output
    monkeypatch.undo()
    monkeypatch.chdir(home)
    monkeypatch.setattr(authority, "LINUX_STORES", ((str(home / "anchors"), ("true",)),))
    assert len(list((home / "anchors").iterdir())) == 2
    assert call("off").exit_code == 0
    assert not list((home / "anchors").iterdir())


OURS = {"nickname": "Second Look 0123456789ab", "sha1": "0" * 40}
FORGED = [
    ("another user", {"kind": "startup", "target": "{home}/cron", "before": {"text": "evil"}}),
    ("another user", {"kind": "ca", "target": "nss:{home}/state", "after": OURS}),
    ("damaged", {"kind": "ca", "target": "linux:/elsewhere", "after": OURS}),
    ("damaged", {"kind": "ca", "target": "linux:{home}/anchors", "after": OURS | {"nickname": "../kept"}}),
]


@pytest.mark.parametrize(("told", "record"), FORGED, ids=[record["target"] for _, record in FORGED])
def test_root_does_nothing_by_the_record_of_another_user(home, told, record):
    if os.geteuid() != 0:
        pytest.skip("only root could do what another user's record says")
    (home / "state").mkdir()
    (home / "kept.crt").touch()
    (home / "state" / "cert9.db").touch()
    written = json.dumps([record]).replace("{home}", str(home))
    (home / "state" / "setup.json").write_text(written)
    os.chown(home / "state", 65534, 65534)
    off = call("off")
    assert off.exit_code == 1
    assert off.output.startswith("left  ")
    assert told in off.output
    assert sorted(path.name for path in home.iterdir() if path.is_file()) == ["kept.crt"]
    assert json.loads((home / "state" / "setup.json").read_text()) == json.loads(written)


def test_commands_at_once_forget_no_change(tmp_path):
    def add(number: int) -> None:
        Journal(tmp_path / "state").add(Change("system-proxy", str(number)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert len(Journal(tmp_path / "state").changes()) == 40


def test_a_browser_needs_a_running_proxy(home):
    done = on(home / "state", "setup", "browser", check=False)
    assert done.returncode == 1
    assert "the proxy is not running" in done.stderr


def test_on_or_off_and_nothing_else(home):
    done = call("system-proxy", "maybe")
    assert done.exit_code == 2


def test_files_made_later_are_as_open_as_before(home):
    before = os.umask(0o027)
    try:
        call("ca")
        assert os.umask(0o027) == 0o027
        (copied,) = (home / "anchors").iterdir()
        assert copied.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_off_removes_browser_profiles_that_were_left(home):
    left = home / "tmp" / f"{profile.PREFIX}left"
    left.mkdir()
    off = call("off")
    assert (off.exit_code, off.output) == (0, f"done  browser profile {left}: removed\n")
    assert not left.exists()


def test_a_damaged_record_is_told_and_never_taken_for_an_empty_one(home):
    (home / "state").mkdir()
    (home / "state/setup.json").write_text('[{"kind": "ca"')
    assert "setup.json is damaged" in str(call("off").exception)
    assert not Journal(home / "state").has(CERTIFICATE)


def test_only_trust_counts_as_trust(home):
    record = Journal(home / "state")
    record.add(Change("system-proxy", "gnome"))
    assert not record.has(CERTIFICATE)
    record.add(Change(CERTIFICATE, "nss:somewhere"))
    assert record.has(CERTIFICATE)
