"""A server's folder: its writer's lock is waited for within bounds, and what is left of a writer is nothing.

About a second.
"""

import os
import shutil
from contextlib import ExitStack
from dataclasses import replace

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server import administration
from secondlook.server.administration import add_entry, rollback
from secondlook.server.store import store as store_module
from secondlook.server.store.names import import_list
from secondlook.server.store.store import ServerStore
from serverkit import NOW, make_store, out, put


def test_a_writer_that_does_not_end_is_named_and_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "WRITER_WAIT_S", 0.1)
    store = ServerStore(tmp_path)
    with (
        store.writing(),
        pytest.raises(PatternError, match=f"process {os.getpid()} has held .*lock"),
        store.writing(),
    ):
        pass


def test_it_is_said_whom_one_waits_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "WRITER_NAMED_S", -1.0)
    store, first = ServerStore(tmp_path), ExitStack()
    first.enter_context(store.writing())
    monkeypatch.setattr(store_module.time, "sleep", lambda _s: first.close())
    with store.writing():
        assert [each.getMessage() for each in caplog.records] == [
            f"waiting for process {os.getpid()}, which holds {tmp_path / 'lock'}"
        ]


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"null", b"[1]", b"9" * 5000, b'{"a": 1}'])
@pytest.mark.parametrize("name", ["own.json", "current", "rolled-back", "sources/*-lines.txt/source.json"])
def test_a_damaged_file_is_named_and_what_is_published_stays(tmp_path, suffixes, name, damage):
    def add(subject):
        add_entry(store, subject, target=import_list("mw-8b"), suffixes=suffixes, who="me", now=NOW)

    store = ServerStore(tmp_path / "server")
    put(store, ["evil.example"], name="lines.txt")
    out(store)
    add("own.example")
    out(store)
    rollback(store)
    (store.root / "held").unlink()
    [path] = store.root.glob(name)
    path.write_bytes(damage)
    for look in (
        lambda: administration.status(store),
        lambda: list(administration.entries(store)),
        lambda: add("other.example"),
        lambda: rollback(store),
        lambda: out(store),
    ):
        try:
            look()
        except PatternError as error:
            words = str(error)
            assert path.name in words or "no earlier generation" in words, words
    assert store.generations()[:2] == [1, 2]


def test_a_folder_beside_the_generations_is_none(tmp_path):
    store = make_store(tmp_path / "server", ["evil.example"])
    shutil.copytree(store.generation_folder(1), store.generations_folder / "000001 copy")
    assert store.generations() == [1]


def test_sources_are_oldest_first_past_the_last_number_of_four_digits(tmp_path):
    store = make_store(tmp_path, ["evil.example"])
    [first] = store.sources()
    store.source_folder(first.id).rename(store.source_folder("9999-first"))
    store.change_source(replace(first, id="9999-first"))
    put(store, ["worse.example"], name="second")
    put(store, ["worst.example"], name="third")
    assert [each.id for each in store.sources()] == ["9999-first", "10000-second", "10001-third"]


@pytest.mark.parametrize("name", [".gone-{}", ".{}"])  # half forgotten; written, and not taken in yet
def test_what_a_killed_writer_leaves_of_a_source_keeps_nothing_from_being_published(tmp_path, name):
    store = make_store(tmp_path, ["evil.example"])
    put(store, ["worse.example"], name="worse.txt")
    last = store.sources()[-1]
    left = store.sources_folder / name.format(last.id)
    store.source_folder(last.id).rename(left)
    assert last.id not in {each.id for each in store.sources()}
    out(store)
    put(store, ["worst.example"], name="worst.txt")
    assert not left.exists()
    out(store)
