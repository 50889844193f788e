"""What an operator does to a store: own entries, exceptions, looking up, and going back."""

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server.administration import (
    add_entry,
    check,
    rollback,
    status,
)
from secondlook.server.store.names import import_list
from secondlook.server.store.removal import remove
from serverkit import NOW, current, details, full_hash, make_store, out, put


def test_own_entries_and_exceptions_beat_feeds(tmp_path, suffixes):
    store = make_store(tmp_path)
    put(
        store,
        [
            "evil.example",
            "a.evil.example",
            "http://shop.example/bad/1",
            "http://shop.example/bad/2",
            "listed.example",
        ],
    )
    common = {"suffixes": suffixes, "who": "admin", "now": NOW}
    add_entry(store, "listed.example", target=import_list("se-s-8b"), **common)
    add_entry(store, "evil.example", target=None, **common)
    add_entry(store, "http://shop.example/bad/1", target=None, **common)
    out(store)
    table = current(store).table
    assert not table.has(full_hash("evil.example/"))
    assert not table.has(full_hash("a.evil.example/"))
    assert not table.has(full_hash("shop.example/bad/1"))
    assert table.has(full_hash("shop.example/bad/2"))
    [listed] = details(store, "listed.example/")
    assert (listed.list, list(listed.feeds)) == ("se-s-8b", ["own"])
    assert remove(store, "evil.example", suffixes=suffixes) == "one own entry"
    out(store)
    assert current(store).table.has(full_hash("evil.example/"))


def test_a_path_exception_takes_out_what_stands_below_it(tmp_path, suffixes):
    store = make_store(tmp_path)
    put(store, ["http://shop.example/bad/1", "http://shop.example/bad/2", "http://shop.example/badly"])
    add_entry(store, "http://shop.example/bad/", target=None, suffixes=suffixes, who="admin", now=NOW)
    out(store)
    assert [
        current(store).table.has(full_hash(f"shop.example/{path}")) for path in ("bad/1", "bad/2", "badly")
    ] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("subject", ["co.uk", "com", "=host.example", "/re.*/", "http://"])
def test_subjects_that_no_list_can_hold_are_refused(tmp_path, suffixes, subject):
    store = make_store(tmp_path)
    with pytest.raises(ValueError, match=r"."):
        add_entry(store, subject, target=import_list("mw-8b"), suffixes=suffixes, who="a", now=NOW)


@pytest.mark.parametrize(
    ("subject", "entry", "also", "not_below"),
    [
        ("[2a0a:1234::5]", "[2a0a:1234::5]/", "http://[2A0A:1234:0::5]:8080/x", None),
        ("2a0a:1234::5", "[2a0a:1234::5]/", "[2a0a:1234::5]", None),
        ("xk2.localto.net", "xk2.localto.net/", "http://xk2.localto.net/x", "http://a.xk2.localto.net/"),
        ("github.io", "github.io/", "https://github.io/about", "https://someone.github.io/"),
        ("printer", "printer/", "http://printer/", None),
    ],
)
def test_what_the_operator_insists_on_is_listed_for_that_host(
    tmp_path, suffixes, subject, entry, also, not_below
):
    store = make_store(tmp_path)
    common = {"suffixes": suffixes, "who": "admin", "now": NOW}
    assert add_entry(store, subject, target=import_list("mw-8b"), **common).text == entry
    out(store)
    assert [each.expression for each in check(store, also, suffixes=suffixes)] == [entry]
    assert not_below is None or check(store, not_below, suffixes=suffixes) == []
    add_entry(store, subject, target=None, **common)
    assert remove(store, subject, suffixes=suffixes) == "2 own entries"


def test_an_exception_for_a_platform_spares_no_site_below_it(tmp_path, suffixes):
    store = make_store(tmp_path, ["evil.github.io"])
    add_entry(store, "github.io", target=None, suffixes=suffixes, who="admin", now=NOW)
    out(store)
    assert current(store).table.has(full_hash("evil.github.io/"))


def test_check_tells_which_expression_is_listed_where(tmp_path, suffixes):
    store = make_store(tmp_path, ["evil.example"])
    [found] = check(store, "https://www.evil.example/any/page?x=1", suffixes=suffixes)
    assert (found.expression, found.list, found.risk, found.feeds) == (
        "evil.example/",
        "mw-8b",
        "dangerous",
        ("list.txt",),
    )
    assert check(store, "good.example", suffixes=suffixes) == []


def test_rollback_serves_the_earlier_one_until_somebody_publishes(tmp_path):
    store = make_store(tmp_path, ["evil.example"])
    put(store, ["worse.example"], name="two.txt")
    out(store)
    assert rollback(store) == 1
    assert (store.current(), status(store).held) == (1, True)
    assert out(store).generation == 3
    assert not status(store).held


def test_nobody_goes_back_to_what_was_gone_back_from(tmp_path):
    store = make_store(tmp_path, ["evil.example"])
    for host in ("worse.example", "worst.example"):  # of 2 and of 3 something is wrong
        put(store, [host], name=f"{host}.txt")
        out(store)
        assert rollback(store) == 1
    out(store)
    assert rollback(store) == 1
    assert status(store).rolled_back == (2, 3, 4)
    with pytest.raises(PatternError, match="no earlier generation but such as were rolled back from"):
        rollback(store)
    with pytest.raises(PatternError, match="generation 3 was rolled back from"):
        rollback(store, 3)
    assert store.current() == 1
    for number in range(4):
        put(store, [f"more{number}.example"], name=f"{number}.txt")
        out(store, keep=3)
    rollback(store)
    assert status(store).rolled_back == (8,)  # what is gone is forgotten
