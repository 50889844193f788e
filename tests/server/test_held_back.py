"""What was held back, compared with what was before: new ones of a source are news for a day."""

import json

import pytest

from secondlook.server.publish.held_back import (
    HELD_BACK,
    NEWS_S,
    TEXTS_SHOWN,
    HeldBack,
    dump_held_back,
    held_back_now,
    read_held_back,
)

BEFORE = HeldBack("feed", 2, ("a.example/", "b.example/"), ("b.example/",), 100.0)


def now_held(*texts, before=(BEFORE,)):
    [found] = held_back_now(before, {"feed": len(texts)}, (("feed", text) for text in texts), 1000.0)
    return found


@pytest.mark.parametrize("before", [None, (), (HeldBack("other", 1, ("a.example/",), (), 0.0),)])
def test_all_of_a_source_that_held_nothing_before_is_new(before):
    found = now_held("a.example/", before=before)
    assert (found.new, found.new_at) == (("a.example/",), 1000.0)


def test_only_what_was_not_there_is_new():
    found = now_held("a.example/", "c.example/")
    assert (found.texts, found.new, found.new_at) == (("a.example/", "c.example/"), ("c.example/",), 1000.0)


def test_what_came_last_stays_known_where_nothing_is_new():
    found = now_held("a.example/")
    assert (found.count, found.new, found.new_at) == (1, BEFORE.new, BEFORE.new_at)


@pytest.mark.parametrize(
    ("after_s", "is_news"), [(-1.0, False), (0.0, True), (NEWS_S - 1, True), (NEWS_S, False)]
)
def test_news_last_a_day(after_s, is_news):
    assert BEFORE.is_news(BEFORE.new_at + after_s) is is_news


def test_a_source_without_new_ones_is_no_news():
    assert not HeldBack("feed", 1, ("a.example/",), (), 100.0).is_news(100.0)


def test_the_new_ones_are_named_first_and_no_more_than_a_few():
    texts = tuple(f"h{number}.example/" for number in range(TEXTS_SHOWN + 1))
    sentence = HeldBack("feed", len(texts), texts, texts[-1:], 0.0).summary()
    assert sentence.endswith(f"held back: {', '.join((texts[-1], *texts[: TEXTS_SHOWN - 1]))} …")
    assert HeldBack("feed", 1, texts[:1], (), 0.0).summary().endswith(f"held back: {texts[0]}")


def test_it_is_read_as_it_was_written_the_largest_first(tmp_path):
    other = HeldBack("other", 7, ("ä.example/",), (), 0.0)
    (tmp_path / HELD_BACK).write_bytes(dump_held_back([BEFORE, other]))
    assert read_held_back(tmp_path) == (other, BEFORE)


@pytest.mark.parametrize("content", ["", "[", "{}x", "[1]", json.dumps([{"source": "feed"}])])
def test_a_damaged_record_is_nothing_held_back(tmp_path, content):
    assert read_held_back(tmp_path) is None
    (tmp_path / HELD_BACK).write_text(content)
    assert read_held_back(tmp_path) == ()
