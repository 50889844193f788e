"""Objects of a JSON document one at a time, wherever it is cut, and past what is damaged in it."""

import json

import pytest

from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.formats import objects as module
from secondlook.feeds.formats.objects import objects


def found(text, size=7, **options):
    return list(objects((text[at : at + size] for at in range(0, len(text), size)), **options))


DOCUMENT = """{
 "info": "two",
 "list": [
  {"a": "x\\"}]"},
  {"b": [1, {"c": 2}]}
 ]
}"""


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_items_of_arrays_come_with_their_lines_and_paths(size):
    assert [(each.line, each.path, each.value) for each in found(DOCUMENT, size)] == [
        (2, ("info",), "two"),
        (4, ("list", "[]"), {"a": 'x"}]'}),
        (5, ("list", "[]"), {"b": [1, {"c": 2}]}),
    ]


def test_containers_are_walked_into_where_that_is_wanted():
    text = '{"groups": [{"items": [{"a": 1}]}, {"items": [{"a": 2}]}]}'
    assert [each.value for each in found(text)] == [{"items": [{"a": 1}]}, {"items": [{"a": 2}]}]
    assert [each.value for each in found(text, enter=frozenset({"groups"}))] == [{"a": 1}, {"a": 2}]


def test_objects_that_stand_alone_are_records_where_that_is_wanted():
    text = '{"a": 1}\n{"a": 2}\n'
    assert [each.value for each in found(text, top=True)] == [{"a": 1}, {"a": 2}]
    assert [each.value for each in found(text)] == [1, 2]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_comma_too_many_is_mended_and_what_cannot_be_read_costs_one_record(size):
    records = found('[{"a": 1,}, {"b": oops}, {"c": 3}]', size)
    assert [each.value for each in records] == [{"a": 1}, None, {"c": 3}]
    assert records[1].text == '{"b": oops}'


def test_a_quote_that_is_missing_costs_its_record_alone():
    assert [each.value for each in found('[{"a": "x}, {"b": 2}]', 1000)][-1] == {"b": 2}


@pytest.mark.parametrize("text", ["", "  ", '{"a": [', '[{"a": 1}', '[{"a": "x'])
def test_a_document_that_ends_early_is_refused(text):
    with pytest.raises(FeedRefused, match="truncated"):
        found(text)


def test_depth_and_length_are_bounded(monkeypatch):
    assert found("[" * module.MAX_DEPTH + "1" + "]" * module.MAX_DEPTH)[0].value == 1
    with pytest.raises(FeedRefused, match="nested too deeply"):
        found("[" * (module.MAX_DEPTH + 1) + "1" + "]" * (module.MAX_DEPTH + 1))
    monkeypatch.setattr(module, "MAX_RECORD_CHARS", 1000)
    with pytest.raises(FeedRefused, match="longer than 1000"):
        found(json.dumps([{"a": "x" * 5000}]), 100)
