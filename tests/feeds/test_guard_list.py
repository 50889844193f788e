"""Lists of known-good hosts from outside: ranked ones, MISP warninglists, and what is neither."""

import gzip
import json

import pytest

from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.guard_list import known_good_lines
from secondlook.suffix import load_suffixes


def lines_of(data, *, form="auto", rank=10):
    chunks = [data if isinstance(data, bytes) else data.encode()]
    return known_good_lines(chunks, name="list", form=form, suffixes=load_suffixes(), rank=rank)


@pytest.mark.parametrize(
    "text",
    [
        "1,one.example\n2,two.example\n3,three.example\n",
        "one.example\r\ntwo.example\r\nthree.example\r\n",
        '# ranks\n"1","one.example"\n"2","Two.Example."\n"3","three.example"\n',
        "1,one.example,17\n2,two.example,16\n9,three.example,1\n",
        "1,one.example\n2,two.example\n" + "9" * 5000 + ",three.example\n",
    ],
)
def test_a_ranked_list_ends_at_its_rank(text):
    assert lines_of(text, rank=2) == ["one.example", "two.example"]
    assert lines_of(gzip.compress(text.encode()), rank=2) == ["one.example", "two.example"]


def test_a_rank_is_of_decimal_digits():
    assert lines_of("\u00b2,one.example\n2,two.example\n") == ["two.example"]


def test_a_warninglist_of_no_kind_is_refused():
    with pytest.raises(FeedRefused, match="not a warninglist"):
        lines_of(json.dumps({"type": ["hostname"], "list": ["bank.example"]}))


def test_a_warninglist_says_what_lies_below():
    raw = {
        "name": "x",
        "type": "hostname",
        "version": 1,
        "list": [".bank.example", "www.shop.example", "192.0.2.1", 7],
    }
    assert lines_of(json.dumps(raw)) == [".bank.example", "www.shop.example"]


@pytest.mark.parametrize(
    "name", ["com", "co.uk", ".co.uk", "192.0.2.1", "[2001:db8::1]", "localhost", "no host"]
)
def test_a_suffix_or_an_address_guards_nothing(name):
    assert lines_of(f"{name}\nwww.shop.example\n") == ["www.shop.example"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("", "empty"),
        ("<!doctype html><html><body>gone</body></html>", "HTML"),
        ('{"type": "cidr", "list": ["192.0.2.0/24"]}', "not a warninglist of hosts"),
        ('{"type": "regex", "list": ["evil.*"]}', "not a warninglist of hosts"),
        ('{"type": "hostname", "list": ["a.example"', "damaged"),
        ("com\nnet\n", "names no host"),
    ],
)
def test_what_is_no_such_list_is_refused(data, told):
    with pytest.raises(FeedRefused, match=told):
        lines_of(data)
