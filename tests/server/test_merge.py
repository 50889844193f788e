"""What of many sources is published, and what is held back; the table and the lists that come of it."""

from hashlib import sha256

import numpy as np
import pytest

from secondlook.server.publish.guard import Exceptions
from secondlook.server.publish.merge import MAX_EXAMPLES, Merge, Run, lists_for
from secondlook.server.publish.table import Table
from secondlook.server.store.manual_entries import ManualEntry
from secondlook.server.store.names import import_list
from secondlook.server.store.records import KIND_FILE, KIND_URL, RECORD, sort_records, sorted_keys
from secondlook.wire import safebrowsing_pb2 as pb

DAY_S = 86_400
MALWARE, PHISHING, GOOD = map(import_list, ("mw-8b", "se-8b", "gc-32b"))


def digest(text):
    return sha256(text.encode()).digest()


def records(*texts, kind=KIND_URL, family=0, day=0, digests=0):
    """Make the records of texts, each at its place among them."""
    made = np.zeros(len(texts), dtype=RECORD)
    for at, text in enumerate(texts):
        made[at] = (digest(text), at, family, day, 0, kind, digests)
    return sort_records(made)


def run(name, parts, target=MALWARE, **more):
    return Run(name, parts, more.pop("lists", lists_for(target)), **more)


def merged(folder, *runs, guard=(), excepted=(), limit=100):
    merge = Merge(folder, runs, sorted_keys(map(digest, guard)))
    entries = [
        ManualEntry(id="1", action="except", scope="exact", text=text, list=None, who="ada", at=0.0)
        for text in excepted
    ]
    merge.run(Exceptions(entries), limit)
    return merge


def behind(folder, text):
    """Return what the table has about a text: a list for each of its lists."""
    table = Table(folder)
    rows = table.find(int.from_bytes(digest(text)[:4], "big"))
    if not rows:
        return None
    (row,) = rows
    assert table.full_hash(row) == digest(text)
    found = pb.FullHash.FromString(table.details(row)).full_hash_details
    return {each.list: (list(each.feeds), each.family, each.first_seen) for each in found}


def listed(folder, name):
    """Return the hashes of a list, checked for their order."""
    content = (folder / f"{name}.raw").read_bytes()
    width = import_list(name).width if not name.endswith("-4b") else 4
    rows = [content[at : at + width] for at in range(0, len(content), width)]
    assert rows == sorted(set(rows))
    return set(rows)


def test_what_several_sources_list_is_one_hash_with_all_that_is_known(tmp_path):
    merge = merged(
        tmp_path,
        run("zeta", records("both/", "mine/", day=9, family=1), families=("Emotet",)),
        run("alpha", records("both/", day=7, family=2), families=("Other", "Zeus")),
        run("phish", records("both/"), PHISHING),
    )
    assert behind(tmp_path, "both/") == {
        "mw-8b": (["alpha", "zeta"], "Emotet", 7 * DAY_S),
        "se-8b": (["phish"], "", 0),
    }
    assert behind(tmp_path, "mine/") == {"mw-8b": (["zeta"], "Emotet", 9 * DAY_S)}
    assert merge.entries == len(Table(tmp_path)) == 2
    assert merge.taken == [{"mw-8b": 2}, {"mw-8b": 1}, {"se-8b": 1}]


def test_a_source_that_is_not_shown_is_named_nowhere(tmp_path):
    merged(tmp_path, run("secret", records("a/", "b/"), shown=False), run("feed", records("b/")))
    assert behind(tmp_path, "a/") == {"mw-8b": ([], "", 0)}
    assert behind(tmp_path, "b/") == {"mw-8b": (["feed"], "", 0)}


def test_an_own_entry_speaks_alone(tmp_path):
    merged(tmp_path, run("feed", records("a/")), run("own", records("a/"), PHISHING, own=True))
    assert behind(tmp_path, "a/") == {"se-8b": (["own"], "", 0)}


def test_exceptions_take_out_what_feeds_list_and_no_own_entry(tmp_path):
    merged(
        tmp_path,
        run("feed", records("a/", "b/", "c/"), excepted=np.array([2], dtype=np.uint64)),
        run("own", records("b/"), own=True),
        excepted=["a/", "b/"],
    )
    assert behind(tmp_path, "a/") is None
    assert behind(tmp_path, "b/") == {"mw-8b": (["own"], "", 0)}
    assert behind(tmp_path, "c/") is None, "found in the text of its source"
    assert listed(tmp_path, "mw-8b") == {digest("b/")[:8]}


@pytest.mark.parametrize(
    ("more", "held"),
    [
        ({}, True),
        ({"guarded": False}, False),
        ({"target": GOOD}, False),
    ],
)
def test_the_guard_holds_back_what_blocks(tmp_path, more, held):
    merge = merged(tmp_path, run("feed", records("good/", "bad/"), **more), guard=["good/"])
    assert merge.held_back.counts == ({"feed": 1} if held else {})
    assert [(run.name, offset) for run, offset in merge.held_back.examples] == [("feed", 0)] * held
    assert sum(merge.taken[0].values()) == 2 - held
    if "target" not in more:
        assert (behind(tmp_path, "good/") is None) == held
        assert behind(tmp_path, "bad/") is not None


def test_the_guard_knows_a_site_by_the_texts_below_it_too(tmp_path):
    merge = merged(tmp_path, run("feed", records("a/", "b/"), held_back=np.array([1], dtype=np.uint64)))
    assert behind(tmp_path, "b/") is None
    assert behind(tmp_path, "a/") is not None
    assert merge.held_back.counts == {"feed": 1}


def test_the_guard_is_about_no_files(tmp_path):
    merge = merged(tmp_path, run("feed", records("good/", kind=KIND_FILE)), guard=["good/"])
    assert not merge.held_back.counts
    assert behind(tmp_path, "good/") == {"x-file-mw-8b": (["feed"], "", 0)}


def test_what_an_exception_takes_out_is_not_counted_as_held_back(tmp_path):
    merge = merged(tmp_path, run("feed", records("good/")), guard=["good/"], excepted=["good/"])
    assert not merge.held_back.counts


def test_all_that_is_held_back_is_counted_and_some_of_each_source_is_shown(tmp_path):
    many = [f"{number}/" for number in range(MAX_EXAMPLES + 5)]
    few = many[:3]
    merge = merged(tmp_path, run("many", records(*many)), run("few", records(*few)), guard=many, limit=50)
    assert merge.held_back.counts == {"many": len(many), "few": 3}
    shown = [run.name for run, _ in merge.held_back.examples]
    assert (shown.count("many"), shown.count("few")) == (MAX_EXAMPLES, 3)
    assert merge.entries == 0


def test_of_a_list_that_was_replaced_nothing_is_taken(tmp_path):
    both = np.concatenate([records("a/"), records("f", kind=KIND_FILE)])
    merge = merged(tmp_path, run("feed", sort_records(both), lists=lists_for(MALWARE, {"mw-8b"})))
    assert merge.taken == [{"x-file-mw-8b": 1}]
    assert behind(tmp_path, "a/") is None
    assert behind(tmp_path, "f") is not None
    assert set(merge.lists) == {"x-file-mw-8b"}


def test_known_good_entries_are_in_their_list_and_not_in_the_table(tmp_path):
    merge = merged(tmp_path, run("good", records("a/", "b/"), GOOD), run("feed", records("b/")))
    assert listed(tmp_path, "gc-32b") == {digest("a/"), digest("b/")}
    assert behind(tmp_path, "a/") is None
    assert behind(tmp_path, "b/") == {"mw-8b": (["feed"], "", 0)}
    assert merge.entries == 1


def test_dangerous_addresses_are_in_the_public_list_too(tmp_path):
    merge = merged(
        tmp_path,
        run("feed", records("a/")),
        run("mild", records("b/"), import_list("mw-s-8b")),
        run("files", records("f", kind=KIND_FILE, digests=2)),
    )
    assert set(merge.lists) == {"mw-8b", "mw-4b", "mw-s-8b", "x-file-mw-8b"}
    assert listed(tmp_path, "mw-4b") == {digest("a/")[:4]}
    assert merge.lists["x-file-mw-8b"].digests == {"md5"}
    assert merge.lists["mw-8b"].digests == set()


def test_a_list_holds_each_prefix_once_and_is_summed_up(tmp_path):
    made = np.zeros(3, dtype=RECORD)
    for at, last in enumerate((b"\x01", b"\x02", b"\x03")):
        made[at] = (b"samefour" + bytes(23) + last, at, 0, 0, 0, KIND_URL, 0)
    merge = merged(tmp_path, run("feed", made), run("twice", made[:1].copy()))
    writer = merge.lists["mw-8b"]
    content = writer.path.read_bytes()
    assert (content, writer.count) == (b"samefour", 1)
    assert merge.checksums["mw-8b"] == sha256(content).digest()
    assert merge.entries == 3
    table = Table(tmp_path)
    feeds = [pb.FullHash.FromString(table.details(row)).full_hash_details[0].feeds for row in range(3)]
    assert feeds == [["feed", "twice"], ["feed"], ["feed"]]
    assert [table.full_hash(row)[-1] for row in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("limit", [1, 7, 10_000])
def test_however_it_is_cut_the_same_comes_of_it(tmp_path, limit):
    texts = [f"{number}.example/" for number in range(400)]
    merge = merged(
        tmp_path,
        run("one", records(*texts[:300], family=1), families=("A",)),
        run("two", records(*texts[200:], day=5)),
        limit=limit,
    )
    for at, text in enumerate(texts):
        feeds = ["one"] * (at < 300) + ["two"] * (at >= 200)
        family, seen = "A" if at < 300 else "", 5 * DAY_S if at >= 200 else 0
        assert behind(tmp_path, text) == {"mw-8b": (feeds, family, seen)}
    assert listed(tmp_path, "mw-8b") == {digest(text)[:8] for text in texts}
    assert merge.entries == merge.lists["mw-8b"].count == 400
    assert merge.taken == [{"mw-8b": 300}, {"mw-8b": 200}]


def test_without_sources_the_table_is_empty(tmp_path):
    merge = merged(tmp_path)
    assert (merge.entries, merge.lists, len(Table(tmp_path))) == (0, {}, 0)
