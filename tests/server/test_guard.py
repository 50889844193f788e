"""What no feed may block, and what an operator takes out of them, found in the texts of entries."""

import pytest

from secondlook.core.digest import sha256
from secondlook.server.publish import guard
from secondlook.server.publish.guard import Exceptions, Guard, lines_of
from secondlook.server.store.manual_entries import ManualEntry
from secondlook.server.store.records import sorted_keys

TEXTS = b"evil.example/\nwww.google.com/\nad.evil.example/a\nother.example/a/b\nnotevil.example/\n"


def lines_at(offsets):
    return [TEXTS[at : TEXTS.index(b"\n", at)].decode() for at in map(int, offsets)]


@pytest.mark.parametrize("block", [1 << 20, 40])
def test_a_known_good_site_is_found_wherever_the_texts_are_cut(suffixes, monkeypatch, block):
    monkeypatch.setattr(guard, "BLOCK_BYTES", block)
    assert lines_at(Guard((), suffixes).offsets(TEXTS)) == ["www.google.com/"]
    assert lines_at(Guard(("other.example/",), suffixes).offsets(TEXTS)) == ["www.google.com/"]
    assert list(Guard((".mine.example",), suffixes).offsets(b"a.example/\na.mine.example/\n")) == [11]


def test_a_site_is_known_by_the_hash_of_it_as_a_whole(suffixes):
    assert sha256(b"mine.example/") in Guard(("mine.example",), suffixes).roots
    assert sha256(b"mine.example/") not in Guard((), suffixes).roots


def exceptions(*scopes_and_texts, action="except"):
    entries = [
        ManualEntry(id=f"own-{at}", action=action, scope=scope, text=text, list=None, who="ada", at=0.0)
        for at, (scope, text) in enumerate(scopes_and_texts)
    ]
    return Exceptions(entries)


@pytest.mark.parametrize(
    ("scope", "text", "out"),
    [
        ("host", "evil.example/", ["evil.example/", "ad.evil.example/a"]),
        ("prefix", "other.example/a/", ["other.example/a/b"]),
        ("prefix", "evil.example/", ["evil.example/"]),
        ("exact", "evil.example/", []),  # by its hash alone
    ],
)
def test_an_exception_takes_out_what_it_covers_and_no_neighbour(scope, text, out):
    assert lines_at(exceptions((scope, text)).offsets(TEXTS)) == out


def test_an_entry_that_lists_takes_nothing_out():
    assert not len(exceptions(("host", "evil.example/"), action="list").offsets(TEXTS))
    assert not len(exceptions().offsets(TEXTS))
    assert not len(exceptions(("host", "evil.example/")).offsets(b""))


def test_keys_are_sorted_beginnings():
    hashes = [b"\x02" + bytes(31), b"\x01" + bytes(31), b"\x02" + bytes(30) + b"x"]
    assert [int(key) >> 56 for key in sorted_keys(hashes)] == [1, 2, 2]


def test_hosts_are_read_from_files_past_their_comments(tmp_path):
    (tmp_path / "a.txt").write_text("# note\nmine.example\n\n.yours.example\n")
    assert lines_of([tmp_path / "a.txt"]) == ["mine.example", ".yours.example"]
    with pytest.raises(OSError, match="gone"):
        lines_of([tmp_path / "gone"])
