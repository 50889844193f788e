"""Real NSS databases and a folder standing for the distribution's store."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.processes import needs
from secondlook.setup import authority
from secondlook.setup.authority import LinuxStore, NssStore
from secondlook.setup.journal import Journal
from secondlook.setup.tool import ToolError

ROUNDS = 5


def make_certificate(folder):
    path = folder / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mitmproxy",
         "-keyout", folder / "key.pem", "-out", path],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def certificate(made, tmp_path):
    return Path(shutil.copy(made, tmp_path))


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "state")


def listed(folder):
    return subprocess.run(
        ["certutil", "-L", "-d", f"sql:{folder}"], check=True, capture_output=True, text=True
    ).stdout


def undo(journal):
    return journal.undo({authority.KIND: authority.distrust}, frozenset({authority.KIND}))


def test_trusts_in_a_fresh_nss_store_and_takes_it_back(certificate, journal, tmp_path):
    needs("certutil")
    folder = tmp_path / "home" / ".pki" / "nssdb"
    (outcome,) = authority.trust(certificate, journal, [NssStore(str(folder))])
    assert outcome.done, outcome
    assert authority.nickname(certificate) in listed(folder)
    assert "C,," in listed(folder)
    (taken,) = undo(journal)
    assert taken.done, taken
    assert not folder.exists()  # it was made for this alone
    assert journal.changes() == []


def certutil(folder, *words):
    subprocess.run(["certutil", *words, "-d", f"sql:{folder}"], check=True, capture_output=True, text=True)


def a_key(folder, tmp_path):
    (tmp_path / "noise").write_bytes(os.urandom(64))
    certutil(folder, "-G", "-k", "ec", "-q", "nistp256", "-z", str(tmp_path / "noise"))


def a_certificate_of_no_trust(folder, tmp_path):
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mine"]
    subprocess.run(
        [*made, "-keyout", tmp_path / "m.key", "-out", tmp_path / "m.pem"], check=True, capture_output=True
    )
    certutil(folder, "-A", "-t", ",,", "-n", "mine, of course", "-i", str(tmp_path / "m.pem"))


def a_module(folder, tmp_path):
    with (folder / "pkcs11.txt").open("a") as file:
        file.write("library=/usr/lib/opensc-pkcs11.so\nname=Card\n")


def a_file(folder, tmp_path):
    (folder / "cert8.db").write_bytes(b"of an older browser")


@pytest.mark.parametrize("leave", [a_key, a_certificate_of_no_trust, a_module, a_file])
def test_a_store_made_by_us_stays_once_it_holds_something(leave, certificate, journal, tmp_path):
    needs("certutil")
    folder = tmp_path / "home" / ".pki" / "nssdb"
    authority.trust(certificate, journal, [NssStore(str(folder))])
    leave(folder, tmp_path)
    (taken,) = undo(journal)
    assert taken.done, taken
    assert all((folder / name).exists() for name in authority.NSS_FILES)
    assert authority.nickname(certificate) not in listed(folder)


def test_a_store_that_was_there_stays_even_when_it_is_empty(certificate, journal, tmp_path):
    needs("certutil")
    folder = tmp_path / "home" / ".pki" / "nssdb"
    folder.mkdir(parents=True)
    certutil(folder, "-N", "--empty-password")
    authority.trust(certificate, journal, [NssStore(str(folder))])
    (taken,) = undo(journal)
    assert taken.done, taken
    assert (folder / "cert9.db").exists()


def test_a_store_that_chromium_uses_already_is_not_hidden_by_a_new_one(certificate, journal, tmp_path):
    needs("certutil")
    used = tmp_path / ".local/share/pki/nssdb"
    NssStore(str(used)).add(certificate)
    stores = [store for store in authority.stores(tmp_path) if isinstance(store, NssStore)]
    assert stores == [NssStore(str(used))]
    own = tmp_path / "own"
    own.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ours",
                    "-keyout", own / "key.pem", "-out", own / "ca.pem"], check=True, capture_output=True)  # fmt: skip
    authority.trust(own / "ca.pem", journal, stores)
    (taken,) = undo(journal)
    assert taken.done
    assert authority.nickname(certificate) in listed(used)
    assert authority.nickname(own / "ca.pem") not in listed(used)
    assert not (tmp_path / ".pki").exists()


def test_finds_firefox_profiles(tmp_path):
    profile = tmp_path / ".mozilla/firefox/abc.default-release"
    profile.mkdir(parents=True)
    assert list(authority.firefox_profiles(tmp_path)) == []
    (profile / "cert9.db").write_bytes(b"")
    assert list(authority.firefox_profiles(tmp_path)) == [profile]
    assert NssStore(str(profile)) in authority.stores(tmp_path)


def test_the_distributions_store_holds_a_copy_until_undone(certificate, journal, tmp_path, monkeypatch):
    folder = tmp_path / "anchors"
    folder.mkdir()
    monkeypatch.setattr(authority, "LINUX_STORES", ((str(folder), ("true",)),))
    (outcome,) = authority.trust(certificate, journal, [LinuxStore(str(folder), ("true",))])
    assert outcome.done
    (copied,) = folder.iterdir()
    assert copied.read_bytes() == certificate.read_bytes()
    assert undo(journal)[0].done
    assert list(folder.iterdir()) == []


def test_a_store_that_stumbles_over_a_link_to_what_is_gone_starts_afresh(
    certificate, journal, tmp_path, monkeypatch
):
    folder, tools = tmp_path / "anchors", tmp_path / "tools"
    folder.mkdir()
    tools.mkdir()
    taken_up = tools / "update-ca-certificates"
    taken_up.write_text(f'#!/bin/sh\necho "$*" >> {tools}/asked\n[ "$1" = --fresh ] || exit 1\n')
    taken_up.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    (outcome,) = authority.trust(certificate, journal, [LinuxStore(str(folder), ("update-ca-certificates",))])
    assert outcome.done
    assert (tools / "asked").read_text() == "\n--fresh\n"


def test_what_cannot_be_done_says_how_to_do_it_by_hand(certificate, journal, tmp_path):
    missing = LinuxStore(str(tmp_path / "no" / "such" / "folder"), ("true",))
    (outcome,) = authority.trust(certificate, journal, [missing])
    assert not outcome.done
    assert "run as root: install -m 644" in outcome.hint


@pytest.mark.parametrize("there", [True, False])
def test_what_fails_everywhere_is_not_on_record(there, certificate, journal, tmp_path, monkeypatch):
    distribution, profile = tmp_path / "anchors", tmp_path / "profile"
    if there:
        distribution.mkdir()
        profile.mkdir()
        (profile / "cert9.db").write_bytes(b"of a browser")
    monkeypatch.setenv("PATH", str(tmp_path))  # where no tool is
    monkeypatch.setattr(authority, "PAUSES_S", ())
    monkeypatch.setattr(authority, "LINUX_STORES", ((str(distribution), ("update-ca-certificates",)),))
    places = [NssStore(str(profile)), LinuxStore(str(distribution), ("update-ca-certificates",))]
    outcomes = authority.trust(certificate, journal, places)
    assert [each.done for each in outcomes] == [False, False]
    kept = [each.target for each in journal.changes()]
    assert kept == ([places[1].target] if there else [])  # a copy that could not be taken up afresh


@pytest.mark.parametrize("tool", ["none", "fails"])
def test_where_no_nss_store_can_be_made_none_is_there(tool, certificate, journal, tmp_path, monkeypatch):
    home, tools = tmp_path / "home", tmp_path / "tools"
    home.mkdir()
    tools.mkdir()
    if tool == "fails":
        (tools / "certutil").write_text("#!/bin/sh\nexit 1\n")
        (tools / "certutil").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    (outcome,) = authority.trust(certificate, journal, [NssStore(str(home / ".pki" / "nssdb"))])
    assert not outcome.done
    assert "libnss3-tools" in outcome.hint
    assert list(home.iterdir()) == []
    assert journal.changes() == []


def test_what_could_not_be_taken_up_is_taken_up_the_next_time(certificate, journal, tmp_path, monkeypatch):
    """Another program had the store's command for too long: the copy is gone, and is trusted still."""
    folder, busy = tmp_path / "anchors", tmp_path / "busy"
    folder.mkdir()
    tool = tmp_path / "bin" / "take-up"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n[ -e {busy} ] && exit 1\nls {folder} > {tmp_path}/trusted\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(authority, "LINUX_STORES", ((str(folder), ("take-up",)),))
    monkeypatch.setattr(authority, "PAUSES_S", ())
    authority.trust(certificate, journal, [LinuxStore(str(folder), ("take-up",))])
    assert (tmp_path / "trusted").read_text()
    busy.touch()
    (failed,) = undo(journal)
    assert not failed.done
    assert "run this command again" in failed.hint
    busy.unlink()
    (taken,) = undo(journal)
    assert taken.done
    assert not (tmp_path / "trusted").read_text()
    assert journal.changes() == []


@pytest.mark.parametrize("trusted", [True, False])
def test_who_may_not_write_the_store_is_not_assured_of_what_it_still_trusts(
    trusted, certificate, journal, tmp_path, monkeypatch
):
    """Root's undo removed the copy, and could not have that taken up."""
    folder, bundle = tmp_path / "anchors", tmp_path / "bundle.crt"
    folder.mkdir()
    monkeypatch.setattr(authority, "LINUX_STORES", ((str(folder), ("true",)),))
    monkeypatch.setattr(authority, "LINUX_BUNDLES", (str(tmp_path / "none"), str(bundle)))
    authority.trust(certificate, journal, [LinuxStore(str(folder), ("true",))])
    shutil.rmtree(folder)  # also root cannot write it now
    damaged = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"
    bundle.write_text(damaged + (certificate.read_text() if trusted else ""))
    (outcome,) = undo(journal)
    assert outcome.done != trusted
    assert bool(journal.changes()) == trusted


def test_what_was_trusted_before_stays_on_record_when_it_fails_again(
    certificate, journal, tmp_path, monkeypatch
):
    folder = tmp_path / "anchors"
    folder.mkdir()
    monkeypatch.setattr(authority, "LINUX_STORES", ((str(folder), ("true",)),))
    monkeypatch.setattr(authority, "PAUSES_S", ())
    authority.trust(certificate, journal, [LinuxStore(str(folder), ("true",))])
    (again,) = authority.trust(certificate, journal, [LinuxStore(str(folder), ("false",))])
    assert not again.done
    assert [each.target for each in journal.changes()] == [f"linux:{folder}"]
    assert list(folder.iterdir())  # it may be trusted still


def test_two_authorities_never_share_a_name(certificate, tmp_path):
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    assert authority.nickname(certificate) != authority.nickname(other)


@pytest.fixture
def debian_store(tmp_path, monkeypatch):
    """Debian's own tool on folders of this test."""
    tool = needs("update-ca-certificates")
    if "localcertsdir" not in Path(tool).read_text(errors="replace"):
        pytest.skip("not Debian's tool")
    places = {name: tmp_path / name for name in ("localcertsdir", "etccertsdir", "hooksdir", "certsdir")}
    for folder in places.values():
        folder.mkdir()
    places["certsconf"] = tmp_path / "ca-certificates.conf"
    places["certsconf"].touch()
    words = " ".join(f"--{name} {place}" for name, place in places.items())
    there = tmp_path / "bin" / "update-ca-certificates"
    there.parent.mkdir()
    there.write_text(f'#!/bin/sh\nexec {tool} {words} "$@"\n')
    there.chmod(0o755)
    monkeypatch.setenv("PATH", f"{there.parent}:{os.environ['PATH']}")
    return LinuxStore(str(places["localcertsdir"]), ("update-ca-certificates",)), places["etccertsdir"]


def test_who_changes_the_store_at_the_same_time_waits_for_its_turn(debian_store, certificate, tmp_path):
    """The tool itself has one file for all that run at once."""
    store, taken_up = debian_store
    other = tmp_path / "other.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other"]
    subprocess.run([*made, "-keyout", tmp_path / "o.key", "-out", other], check=True, capture_output=True)
    names = {path: authority.nickname(path) for path in (certificate, other)}

    def change(path):
        for _ in range(ROUNDS):
            store.add(path)
            store.remove(names[path], "")
        store.add(path)

    with ThreadPoolExecutor() as threads:
        list(threads.map(change, names))
    bundle = (taken_up / "ca-certificates.crt").read_text()
    assert bundle.count("BEGIN CERTIFICATE") == len(names)
    assert {path.read_text().strip() for path in names} <= {
        f"{each}-----END CERTIFICATE-----".strip() for each in bundle.split("-----END CERTIFICATE-----")
    }


def test_one_that_fails_as_another_program_runs_it_is_run_again(
    debian_store, certificate, tmp_path, monkeypatch
):
    store, taken_up = debian_store
    store.add(certificate)
    monkeypatch.setattr(authority, "PAUSES_S", (0.0, 0.0))
    tool, failed = tmp_path / "bin" / "update-ca-certificates", tmp_path / "failed"
    real = tool.read_text().partition("\n")[2]
    tool.write_text(f"#!/bin/sh\n[ $(wc -l < {failed}) -lt 2 ] && echo once >> {failed} && exit 1\n{real}")
    failed.touch()
    store.remove(authority.nickname(certificate), "")
    assert failed.read_text() == "once\nonce\n"
    assert not list(taken_up.glob("*.pem"))
    failed.write_text("")
    tool.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n")
    with pytest.raises(ToolError, match="no space left"):
        store.add(certificate)
