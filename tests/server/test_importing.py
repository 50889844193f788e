"""Importing into a store: many files in one, exceptions, replacing, listing and removing, refusals."""

import lzma
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest

from secondlook.server.administration import entries
from secondlook.server.publish.publishing import publish
from secondlook.server.store.importing import import_files
from secondlook.server.store.records import open_run
from secondlook.server.store.removal import remove
from secondlook.server.store.store import ServerStore
from serverkit import NOW, full_hash, put

FOLDERS = ("feeds", "hashes", "malformed", "requests")


def hashes_of(store, source_id):
    return {bytes(each) for each in open_run(store.source_folder(source_id) / "records")["hash"]}


def unpacked(path):
    with lzma.open(path) as file:
        return file.read()


def take(store, *paths, list_name="mw-8b"):
    return import_files(store, paths, who="tester", now=NOW, list_name=list_name).files


def test_many_real_files_import_into_one_store_or_are_refused_with_a_reason(tmp_path, shared_data):
    if shared_data is None:
        pytest.skip("the shared data is not here")
    store = ServerStore(tmp_path / "server")
    limit = 100_000  # every row of every file is looked at in tests/feeds/test_every_list.py
    paths = [
        path
        for folder in FOLDERS
        for path in sorted((shared_data / folder).rglob("*"))
        if path.is_file() and path.stat().st_size < limit
    ]
    reports = take(store, *paths)
    assert len(reports) == len(paths) > 30
    sources = {each.id: each for each in store.sources()}
    for report in reports:
        if report.refused:
            assert report.source is None
            assert report.refused.split(":")[0].strip()
            continue
        source = sources[report.source]
        assert (
            report.distinct
            == sum(source.counts.values())
            == len(open_run(store.source_folder(source.id) / "records"))
        )
        assert report.distinct <= report.accepted
        assert all(count > 0 for count in report.rejected.values())
    refused = Counter(bool(report.refused) for report in reports)
    assert refused[False] > 25, {report.name: report.refused for report in reports if report.refused}
    publish(store, now=NOW)


def test_two_hundred_thousand_real_entries_are_published_and_found(tmp_path, shared_data):
    if shared_data is None:
        pytest.skip("the shared data is not here")
    path = shared_data / "malicious" / "urlhaus_hist_ipv4.txt.xz"
    addresses = sorted(set(unpacked(path).decode().split()))
    store = ServerStore(tmp_path / "server")
    [report] = take(store, path)
    assert report.accepted == 306_289
    counted = publish(store, now=NOW)
    assert counted.lists["mw-8b"] > 200_000
    from secondlook.server.publish.generation import Generation

    table = Generation(store.generation_folder(1)).table
    sampled = np.random.default_rng(1).choice(addresses, 2000)
    assert all(table.has(full_hash(f"{address}/")) for address in sampled)


def test_an_exception_in_a_feed_takes_out_what_it_limits(tmp_path):
    store = ServerStore(tmp_path / "server")
    report = put(
        store,
        [
            "||evil.example^",
            "||bad.example^",
            "||a.bad.example^",
            "||worse.example^",
            "@@||good.worse.example^",
            "@@||bad.example^",
            "||shop.example/sale/cheap^",
            "||shop.example/sales^",
            "@@||shop.example/sale^",
        ],
        name="adblock.txt",
    )
    [file] = report.files
    assert file.format == "adblock"
    found = hashes_of(store, file.source)
    assert full_hash("evil.example/") in found
    assert full_hash("bad.example/") not in found
    assert full_hash("a.bad.example/") not in found
    assert full_hash("worse.example/") not in found  # it would block what the feed allows
    assert full_hash("shop.example/sale/cheap") not in found
    assert full_hash("shop.example/sales") in found


def test_an_inexact_exception_holds_back_what_it_could_limit_and_is_counted(tmp_path):
    store = ServerStore(tmp_path / "server")
    rules = [
        "||evil.top^",
        "||masto1.top^",
        "||masto1.top^$all",
        "||x.tech.top^",
        "||shop.example^",
        "||shop.example/bad.exe$all",
        "@@||masto*.top^",
        r"@@/^.*(tech|linux).*\.top$/",
        "@@||shop.example/ads/*.gif",
    ]
    [file] = put(store, rules, name="adblock.txt").files
    held = ("masto1.top/", "x.tech.top/", "shop.example/")
    assert hashes_of(store, file.source) == {
        full_hash(each) for each in ("evil.top/", "shop.example/bad.exe")
    }
    assert dict(file.rejected) == {
        "wildcard or regular expression": 3,
        "held back by an exception": len(held),
    }
    assert (file.accepted, file.distinct) == (3, 2)  # a repeat included


def test_known_good_files_need_a_strong_digest(tmp_path):
    store = ServerStore(tmp_path / "server")
    sha = sha256(b"good").hexdigest()
    [file] = put(store, [sha, "44d88612fea8a8f36de82e1278abb02f"], list_name="x-file-gc-32b").files
    assert file.lists == {"x-file-gc-32b": 1}
    assert sum(file.rejected.values()) == 1


def test_replacing_makes_the_file_the_whole_list(tmp_path):
    store = ServerStore(tmp_path / "server")
    sha = sha256(b"virus").hexdigest()
    put(store, ["one.example", sha], name="mixed.txt")
    put(store, ["two.example"], name="urls.txt", replace=True)
    assert {row.text for row in entries(store)} == {"two.example/", sha}
    put(store, [sha256(b"other").hexdigest()], name="files.txt", list_name="x-file-mw-8b", replace=True)
    assert {row.text for row in entries(store)} == {"two.example/", sha256(b"other").hexdigest()}
    assert len(store.sources()) == 2


def test_replacing_takes_no_list_away_that_the_file_does_not_fill(tmp_path):
    store = ServerStore(tmp_path / "server")
    virus, trojan = (sha256(each).hexdigest() for each in (b"virus", b"trojan"))
    put(store, ["one.example"], name="urls.txt")
    put(store, [virus], name="files.txt")

    def told():
        return {row.text for row in entries(store)}

    wrong = tmp_path / "hosts.txt"
    wrong.write_text("0.0.0.0 two.example\n")
    for list_name in ("x-file-mw-8b", "se-hs-8b"):
        [report] = import_files(
            store,
            [wrong if list_name[0] == "x" else tmp_path / "files.txt"],
            who="tester",
            now=NOW,
            list_name=list_name,
            replace_list=True,
        ).files
        assert report.refused
        assert list_name in report.refused
    assert told() == {"one.example/", virus}
    # no list is named: the kind of the entries says which
    import_files(store, [tmp_path / "files.txt"], who="tester", now=NOW, replace_list=True)
    assert told() == {"one.example/", virus}
    # of a file that holds both, the other kind replaces only what came under the same name
    for bad in ("three.example", "four.example"):
        rows = ["ioc_value,ioc_type", f"{bad},domain", f"{trojan},sha256_hash"]
        put(store, rows, name="both.csv", list_name="x-file-mw-8b", replace=True)
        assert told() == {"one.example/", f"{bad}/", trojan}


def test_entries_are_listed_searched_and_removed_with_who_and_when(tmp_path, suffixes):
    store = ServerStore(tmp_path / "server")
    put(store, ["one.example", "http://two.example/a"], name="urls.txt")
    put(store, ["44d88612fea8a8f36de82e1278abb02f"], name="digests.txt")
    rows = list(entries(store))
    assert [(row.text, row.source) for row in sorted(rows, key=lambda row: row.text)] == [
        ("md5:44d88612fea8a8f36de82e1278abb02f", "digests.txt"),
        ("one.example/", "urls.txt"),
        ("two.example/a", "urls.txt"),
    ]
    assert {(row.who, row.added_at) for row in rows} == {("tester", NOW)}
    assert [row.text for row in entries(store, search="two")] == ["two.example/a"]
    assert [row.list for row in entries(store, list_name="x-file-mw-8b")] == ["x-file-mw-8b"]
    remove(store, "urls.txt", suffixes=suffixes)
    remove(store, "digests.txt", suffixes=suffixes)
    assert list(entries(store)) == []
    with pytest.raises(LookupError):
        remove(store, "urls.txt", suffixes=suffixes)


@pytest.mark.parametrize(
    "content", [b"", b"# only a comment\n", b"<!doctype html><html></html>", bytes(range(256)) * 99]
)
def test_refused_files_leave_nothing_behind(tmp_path, content):
    store = ServerStore(tmp_path / "server")
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    [report] = take(store, path)
    assert report.refused
    assert store.sources() == []
    assert list(store.sources_folder.iterdir()) == []


def test_an_unknown_list_or_format_is_told(tmp_path):
    store = ServerStore(tmp_path / "server")
    path = tmp_path / "list.txt"
    path.write_text("one.example\n")
    with pytest.raises(ValueError, match="no list is called"):
        take(store, path, list_name="xx-8b")
    with pytest.raises(ValueError, match="nonsense"):
        import_files(store, [path], who="t", now=NOW, fmt="nonsense")
    assert list(store.sources_folder.iterdir()) == []


def test_what_was_left_out_of_an_archive_is_told(tmp_path):
    from zipfile import ZipFile

    with ZipFile(tmp_path / "lists.zip", "w") as archive:
        archive.writestr("hosts.txt", "evil.example\n")
        archive.writestr("index.html", "<html><body>lists</body></html>")
        archive.writestr("README", "read me")
    store = ServerStore(tmp_path / "server")
    [report] = import_files(store, [tmp_path / "lists.zip"], who="t", now=NOW, list_name="mw-8b").files
    assert report.accepted == 1
    assert [member for member, _ in report.skipped] == ["index.html", "README"]
    assert "HTML" in report.skipped[0][1]
    with ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("index.html", "<html><body>lists</body></html>")
        archive.writestr("daily.ndb", "x")
    [report] = import_files(store, [tmp_path / "none.zip"], who="t", now=NOW, list_name="mw-8b").files
    assert "HTML" in (report.refused or "")
    assert [member for member, _ in report.skipped] == ["index.html", "daily.ndb"]


def test_what_is_over_or_not_valid_yet_is_not_taken_and_counted(tmp_path):
    import json

    usual = {"type": "indicator", "pattern_type": "stix"}
    objects = [
        usual | {"pattern": "[domain-name:value = 'now.example']", "valid_from": "2026-01-01T00:00:00Z"},
        usual | {"pattern": "[domain-name:value = 'later.example']", "valid_from": "2099-01-01T00:00:00Z"},
        usual | {"pattern": "[domain-name:value = 'over.example']", "valid_until": "2026-01-02T00:00:00Z"},
    ]
    (tmp_path / "feed.json").write_text(json.dumps({"type": "bundle", "objects": objects}))
    store = ServerStore(tmp_path / "server")
    [report] = import_files(store, [tmp_path / "feed.json"], who="t", now=NOW, list_name="mw-8b").files
    assert (report.accepted, report.lists) == (1, {"mw-8b": 1})
    assert report.rejected == {"revoked or expired": 2}


def test_the_next_import_clears_what_a_killed_one_left(tmp_path):
    store = ServerStore(tmp_path / "server")
    left = store.sources_folder / ".0010-killed.txt"
    left.mkdir()
    (left / "texts").write_text("half")
    put(store, ["evil.example"])
    assert [folder.name for folder in store.sources_folder.iterdir()] == ["0001-list.txt"]
