"""Which conditions of a filter an index serves, and which are tested on each row."""

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from secondlook.ledger.log.filter import (
    EventFilter,
    conditions_of,
    indexed,
    led_by,
    names_of,
    spellings,
    unindexed,
    words,
)


def sql(condition, dialect=None):
    return str(condition.compile(dialect=dialect or sqlite.dialect(), compile_kwargs={"literal_binds": True}))


def served(**wanted):
    return [(column.name, values) for column, values in indexed(EventFilter(**wanted))]


def on_rows(**wanted):
    return [sql(condition) for condition in unindexed(EventFilter(**wanted))]


@pytest.mark.parametrize(
    ("wanted", "by_index"),
    [
        ({"host": "Shop.example"}, [("host", ("shop.example",))]),
        ({"client": "10.0.0.1"}, [("client", ("10.0.0.1",))]),
        ({"threat": ("malware", "social_engineering")}, [("threat", ("malware", "social_engineering"))]),
        ({"decision": "block", "stage": "rules"}, [("decision", ("block",)), ("stage", ("rules",))]),
    ],
)
def test_what_has_an_index_is_led_by_it_alone(wanted, by_index):
    assert served(**wanted) == by_index
    assert on_rows(**wanted) == []


@pytest.mark.parametrize(
    "wanted",
    [
        {"kind": "check"},
        {"decision": ("block", "allow")},
        {"client": "ada"},
        {"host": "*.shop.example"},
        {"proxy": "one"},
    ],
)
def test_what_nearly_every_event_has_or_no_index_holds_is_tested_on_rows(wanted):
    assert served(**wanted) == []
    assert len(on_rows(**wanted)) == 1


def test_a_host_with_its_subdomains_is_no_other_host_that_ends_alike():
    assert on_rows(host="*.a_b.example") == [
        r"events.host = 'a_b.example' OR events.host LIKE '%.a\_b.example' ESCAPE '\'"
    ]
    assert names_of(EventFilter(host="*.A_b.example", client="ada")) == ["a_b.example", "ada"]


def test_a_partial_index_is_used_only_with_its_condition():
    [(column, values)] = indexed(EventFilter(kind="blocked"))
    assert sql(led_by(column, values)) == "events.kind = 'blocked' AND events.kind != 'check'"
    [(column, values)] = indexed(EventFilter(stage=("rules", "query")))
    assert sql(led_by(column, values)) == "events.stage IN ('rules', 'query')"


def test_words_are_few_and_short():
    assert words(EventFilter(search="  a  b ")) == ["a", "b"]
    assert len(words(EventFilter(search=" ".join(["x" * 100] * 40)))) == 16
    assert len(words(EventFilter(search="x" * 1000))[0]) == 256


@pytest.mark.parametrize(
    ("word", "in_the_log"),
    [
        ("shop.example", ()),
        ("bücher", ("xn--bcher-kva",)),
        ("Bücher.example/ü?a", ("xn--bcher-kva.example/%C3%BC?a",)),
        ("https://bücher.example:8443", ("https://xn--bcher-kva.example:8443",)),
        ("https://bücher.example", ("https://xn--bcher-kva.example",)),
        ("/größe", ("/gr%C3%B6%C3%9Fe",)),
        ("größe.pdf", ("gr%C3%B6%C3%9Fe.pdf",)),
    ],
)
def test_a_word_is_looked_for_as_people_write_it_and_as_the_log_has_it(word, in_the_log):
    assert spellings(word)[0] == word
    assert set(in_the_log) <= set(spellings(word)[1:])
    assert bool(spellings(word)[1:]) == bool(in_the_log)


@pytest.mark.parametrize("dialect", [sqlite, postgresql])
def test_a_word_means_its_letters_and_no_pattern(dialect):
    is_sqlite = dialect is sqlite
    [condition] = conditions_of(EventFilter(search="100%_"), sqlite=is_sqlite)
    text = sql(condition, dialect.dialect())
    assert r"100\%" in text.replace("%%", "%")
    assert r"\_" in text


def test_what_is_left_out_is_left_out_of_rows_without_a_value_too():
    [condition] = conditions_of(
        EventFilter(without=(EventFilter(rule="r1", list="l"), EventFilter())), sqlite=True
    )
    assert sql(condition) == "coalesce(events.list = 'l' AND events.rule = 'r1', 0) = 0"
