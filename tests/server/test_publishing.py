"""What is published: exactly the entries, with their sources; checks that stop a bad generation; a full disk (5 s)."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pytest

from secondlook.config.service import PublishSettings
from secondlook.ground.errors import PatternError
from secondlook.server.administration import (
    add_entry,
    status,
)
from secondlook.server.publish.generation import Generation
from secondlook.server.publish.publishing import publish
from secondlook.server.publish.signing import KEY_FILE, publisher_key
from secondlook.server.store.importing import import_files
from secondlook.server.store.names import import_list
from secondlook.server.store.store import ServerStore
from secondlook.wire.signature import is_signed, list_is_signed, read_public_key
from serverkit import NOW, current, details, full_hash, make_store, out, put

EVIL = [f"evil{number}.example" for number in range(2000)]


def test_the_table_holds_exactly_what_was_imported(tmp_path):
    store = make_store(tmp_path, EVIL)
    table = current(store).table
    assert all(table.has(full_hash(f"{host}/")) for host in EVIL)
    assert not any(table.has(full_hash(f"good{number}.example/")) for number in range(2000))
    assert len(table) == 2000 + 4  # and a canary for each block list


@pytest.mark.parametrize("file", ["records", "texts"])
@pytest.mark.parametrize("left", [3, 48 * 30, None])
def test_a_source_of_which_a_part_is_missing_is_not_published_without_it(tmp_path, file, left):
    """Cut within an entry, between two, or gone: of few entries nobody would see that the list shrank."""
    store = make_store(tmp_path, EVIL[:100])
    put(store, ["later.example"], name="later.txt")
    [damaged, _] = [each for each in store.sources() if each.kind == "import"]
    path = store.source_folder(damaged.id) / file
    if left is None:
        path.unlink()
    else:
        os.truncate(path, left)
    with pytest.raises(PatternError, match=rf"the source {damaged.id} is damaged \(.*\); remove "):
        out(store)
    assert store.generations() == [1]
    shutil.rmtree(store.source_folder(damaged.id))
    out(store)
    assert current(store).table.has(full_hash("later.example/"))


def test_many_hashes_are_looked_up_at_once(tmp_path):
    table = current(make_store(tmp_path, EVIL)).table
    listed = [full_hash(f"{host}/") for host in EVIL]
    near = [each[:-1] + bytes([each[-1] ^ 1]) for each in listed]  # the same prefix, another hash
    others = [full_hash(f"{host}/other") for host in EVIL]
    assert table.held([*others, *listed, *near]) == listed


def test_lists_are_the_sorted_prefixes_of_the_entries(tmp_path):
    store = make_store(tmp_path, EVIL)
    generation = Generation(store.generation_folder(1))
    for name, width in (("mw-8b", 8), ("mw-4b", 4)):
        raw = bytes(generation.raw(name))
        entry = generation.lists[name]
        expected = {full_hash(f"{host}/")[:width] for host in EVIL} | {entry.canary[:width]}
        assert raw == b"".join(sorted(expected))
        assert (entry.count, entry.checksum) == (len(expected), sha256(raw).digest())
        assert raw.find(entry.canary[:width]) % width == 0


def test_one_entry_from_several_sources_names_them_all(tmp_path):
    store = make_store(tmp_path)
    put(store, ["evil.example"], name="one.txt")
    put(store, ["evil.example", "other.example"], name="two.txt")
    put(store, ["evil.example"], name="three.txt", list_name="se-hs-8b")
    out(store)
    found = {
        each.list: (list(each.feeds), each.risk, each.threat_type) for each in details(store, "evil.example/")
    }
    assert found == {"mw-8b": (["one.txt", "two.txt"], 1, 1), "se-hs-8b": (["three.txt"], 2, 2)}


def test_digests_go_to_the_file_list_in_one_form(tmp_path):
    sha, md5 = sha256(b"virus").hexdigest(), "44d88612fea8a8f36de82e1278abb02f"
    store = make_store(tmp_path, [sha, md5.upper()])
    entry = Generation(store.generation_folder(1)).lists["x-file-mw-8b"]
    assert entry.count == 3
    assert entry.digests == ("md5", "sha256")
    assert current(store).table.has(full_hash(f"md5:{md5}"))
    assert current(store).table.has(bytes.fromhex(sha))


def test_publishing_again_without_a_change_keeps_the_generation(tmp_path):
    store = make_store(tmp_path, EVIL)
    report = out(store, now=NOW + 60)
    assert (report.changed, report.generation, store.generations()) == (False, 1, [1])


def test_another_source_of_the_same_entries_is_a_change(tmp_path):
    store = make_store(tmp_path, ["evil.example"])
    put(store, ["evil.example"], name="second.txt")
    assert out(store).changed
    lists = Generation(store.generation_folder(2)).lists
    assert lists["mw-8b"].since == 1  # its bytes are the same: agents fetch nothing


def test_another_key_is_a_change(tmp_path):
    """Who pins the new one would take nothing from this server until some list changes."""
    store = make_store(tmp_path, EVIL)
    (store.root / KEY_FILE).unlink()
    report = out(store)
    assert (report.changed, store.current()) == (True, 2)
    generation = current(store)
    entry, key = generation.lists["mw-8b"], publisher_key(store.root).public_key()
    assert list_is_signed(key, entry.name, entry.version, entry.checksum, entry.signature)
    assert not out(store).changed


def test_a_list_that_shrinks_too_far_is_not_published(tmp_path):
    store = make_store(tmp_path, EVIL)
    put(store, EVIL[:900], replace=True, name="less.txt")
    with pytest.raises(PatternError, match="mw-8b would shrink from 2001 entries to 901"):
        out(store)
    assert store.current() == 1
    assert [path.name for path in store.generations_folder.iterdir()] == ["000001"]
    assert out(store, accept_shrink=True).generation == 2


def test_known_good_sites_are_held_back_and_urls_on_them_are_not(tmp_path):
    store = make_store(tmp_path)
    put(store, ["google.com", "www.google.com", "https://docs.google.com/forms/evil", "evil.example"])
    report = out(store)
    table = current(store).table
    assert not table.has(full_hash("google.com/"))
    assert not table.has(full_hash("www.google.com/"))
    assert table.has(full_hash("docs.google.com/forms/evil"))
    assert report.held_back == 2
    assert {text for _, text in report.held_back_examples} == {"google.com/", "www.google.com/"}
    assert [each.count for each in status(store).held_back] == [2]
    put(store, ["facebook.com"], name="more.txt")
    assert not out(store).changed
    assert [(each.source, each.count) for each in status(store).held_back] == [
        ("list.txt", 2),
        ("more.txt", 1),
    ]


POISONED = {
    "ajax.googleapis.com": "ajax.googleapis.com/",
    "r3.o.lencr.org": "r3.o.lencr.org/",
    "dl.dropbox.com": "dl.dropbox.com/",
    "http://en.wikipedia.org/wiki//": "en.wikipedia.org/wiki/",
    "https://login.live.com/login.srf": "login.live.com/login.srf",
}
KEPT = {
    "evil-neighbour.pages.dev": "evil-neighbour.pages.dev/",
    "https://drive.google.com/file/d/1AbCdEf/view": "drive.google.com/file/d/1AbCdEf/view",
    "https://login.live.com/login.srf?id=evil": "login.live.com/login.srf?id=evil",
}


def test_what_lies_below_and_pages_that_stand_for_many_are_held_back(tmp_path, suffixes):
    store = make_store(tmp_path)
    put(store, [*POISONED, *KEPT])
    report = out(store)
    assert sorted(text for _, text in report.held_back_examples) == sorted(POISONED.values())
    assert [text for text in POISONED.values() if current(store).table.has(full_hash(text))] == []
    assert [text for text in KEPT.values() if not current(store).table.has(full_hash(text))] == []

    add_entry(store, "ajax.googleapis.com", target=import_list("mw-8b"), suffixes=suffixes, who="me", now=NOW)
    assert out(store).held_back == len(POISONED)
    assert [text for text in POISONED.values() if current(store).table.has(full_hash(text))] == [
        "ajax.googleapis.com/"
    ]

    (source,) = store.sources()
    store.change_source(replace(source, insist=True))
    assert out(store).held_back == 0
    assert all(current(store).table.has(full_hash(text)) for text in POISONED.values())


def test_what_is_newly_held_back_is_told_apart(tmp_path):
    store = make_store(tmp_path)
    put(store, ["google.com"])
    out(store)
    put(store, ["google.com", "code.jquery.com"], replace=True)
    out(store, now=NOW + 60)
    out(store, now=NOW + 120)
    [held] = status(store).held_back
    assert (held.count, held.new, held.new_at) == (2, ("code.jquery.com/",), NOW + 60)
    assert (held.is_news(NOW + 3600), held.is_news(NOW + 90_000)) == (True, False)
    assert held.summary().endswith("held back: code.jquery.com/, google.com/")
    (store.root / "held-back").write_text("2\n")  # of an earlier version
    assert status(store).held_back == ()


def test_the_operator_may_insist(tmp_path):
    store = make_store(tmp_path)
    path = tmp_path / "insist.txt"
    path.write_text("facebook.com\n")
    import_files(store, [path], who="tester", now=NOW, list_name="mw-8b", insist=True)
    assert out(store).held_back == 0
    assert current(store).table.has(full_hash("facebook.com/"))


def test_imported_known_good_entries_guard_too(tmp_path):
    store = make_store(tmp_path)
    put(store, ["partner.example"], list_name="gc-32b", name="good.txt")
    put(store, ["partner.example", "evil.example"], name="bad.txt")
    assert out(store).held_back == 1
    assert not current(store).table.has(full_hash("partner.example/"))


def test_old_generations_go_but_never_the_current_one(tmp_path):
    store = make_store(tmp_path, ["evil.example"])
    for number in range(5):
        put(store, [f"evil{number}.example"], name=f"{number}.txt")
        out(store, keep=3)
    assert store.generations() == [4, 5, 6]


def test_manifest_and_lists_are_signed_by_the_publishers_key(tmp_path):
    store = make_store(tmp_path, EVIL)
    folder = store.generation_folder(1)
    data = (folder / "manifest.json").read_bytes()
    manifest = json.loads(data)
    key = read_public_key(manifest["key"])
    assert is_signed(key, data, (folder / "manifest.sig").read_bytes())
    for name, entry in Generation(folder).lists.items():
        assert list_is_signed(key, name, entry.version, entry.checksum, entry.signature)
        assert not list_is_signed(key, name, entry.version + b"x", entry.checksum, entry.signature)
    assert (store.root / "publisher.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["prefix.u32", "rest.b28", "detail.u32", "index.u32", "details.bin", "manifest.json"]
)
def test_a_cut_file_is_noticed_when_it_is_opened(tmp_path, name):
    store = make_store(tmp_path, EVIL)
    path = store.generation_folder(1) / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(PatternError):
        _ = Generation(path.parent).table


def test_a_changed_byte_is_noticed_by_verification(tmp_path):
    store = make_store(tmp_path, EVIL)
    path = store.generation_folder(1) / "rest.b28"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(PatternError, match=r"rest.b28 does not match"):
        Generation(path.parent).verify()


def test_entries_that_have_expired_are_not_published(tmp_path, suffixes):
    store = ServerStore(tmp_path / "server")
    add_entry(
        store,
        "evil.example",
        target=import_list("mw-8b"),
        suffixes=suffixes,
        who="a",
        now=NOW,
        expires_at=NOW + 60,
    )
    publish(store, now=NOW, settings=PublishSettings())
    assert current(store).table.has(full_hash("evil.example/"))
    publish(store, now=NOW + 61, settings=PublishSettings())
    assert not current(store).table.has(full_hash("evil.example/"))


@pytest.mark.parametrize("blocks", [8, 40])
def test_a_disk_that_takes_no_more_is_told_in_one_line(tmp_path, blocks):
    store = make_store(tmp_path, ["evil.example"])
    put(store, [f"evil{number}.example" for number in range(1500)])
    command = ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", sys.executable, "-m", "secondlook"]
    done = subprocess.run(
        [*command, "server", "publish", "--state", str(store.root)],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "File too large" in line
    assert store.current() == 1
    assert [path.name for path in store.generations_folder.iterdir()] == ["000001"]
