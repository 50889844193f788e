"""The log's filters: read from a query and back, times of every kind, and what cannot be understood refused."""

import pytest

from secondlook.ledger.ledger import EventFilter
from secondlook.review.filters import (
    LIVE_CURSOR,
    LONGEST,
    MOST_EXCLUDED,
    LogFilter,
    UnusableFilterError,
    parse_cursor,
    parse_moment,
)

NOW = 1_790_000_000.0


def test_what_is_set_comes_back_for_links_and_blanks_do_not():
    asked = LogFilter.parse({"search": "  a b ", "decision": "block", "host": " ", "nonsense": "x"})
    assert asked.params() == {"search": "a b", "decision": "block"}
    assert LogFilter.parse(asked.params()) == asked


@pytest.mark.parametrize("name", ["decision", "kind", "stage", "threat"])
def test_a_choice_that_does_not_exist_is_refused_with_those_that_do(name):
    with pytest.raises(UnusableFilterError, match=f"^{name}: expected one of .*, got 'nonsense'$"):
        LogFilter.parse({name: "nonsense"})


def test_a_value_at_its_limit_and_one_past_it():
    assert LogFilter.parse({"search": "x" * LONGEST}).search
    with pytest.raises(UnusableFilterError, match="search: expected at most"):
        LogFilter.parse({"search": "x" * (LONGEST + 1)})


def test_no_filter_wants_everything():
    wanted = LogFilter().event_filter(NOW)
    assert {getattr(wanted, name) for name in wanted.__dataclass_fields__} == {None, ()}


def test_what_is_left_out_comes_back_for_links_and_becomes_the_ledgers():
    asked = LogFilter.parse({"client": "ann"}, ["host:Ads.example.", "kind:check", "kind:check"])
    assert asked.excluded == (("host", "Ads.example."), ("kind", "check"))
    assert asked.query() == "client=ann&not=host%3AAds.example.&not=kind%3Acheck"
    wanted = asked.event_filter(NOW)
    assert wanted.without == (EventFilter(host="ads.example"), EventFilter(kind="check"))


@pytest.mark.parametrize(
    "text", ["host", "host:", "host: ", "since:1d", "nonsense:x", "kind:nonsense", "search:" + "x" * 600]
)
def test_what_cannot_be_left_out_is_refused(text):
    with pytest.raises(UnusableFilterError, match=r"^not: expected ") as refused:
        LogFilter.parse({}, [text])
    assert refused.value.field == "not"


def test_how_much_may_be_left_out_has_a_bound():
    most = [f"host:h{number}.example" for number in range(MOST_EXCLUDED)]
    assert len(LogFilter.parse({}, most).excluded) == MOST_EXCLUDED
    with pytest.raises(UnusableFilterError, match=r"^not: expected at most 20 times"):
        LogFilter.parse({}, [*most, "host:one.more.example"])


def test_an_unusable_time_names_its_field():
    with pytest.raises(UnusableFilterError, match=r"^until: expected an age") as refused:
        LogFilter(until="yesterday").event_filter(NOW)
    assert refused.value.field == "until"


@pytest.mark.parametrize("client", ["10.0.0.0/24", "ann@10.0.0.7", "1.2.3"])
def test_a_client_that_no_event_names_is_refused(client):
    with pytest.raises(UnusableFilterError, match=r"^client: expected an address"):
        LogFilter(client=client).event_filter(NOW)


def test_an_address_is_sought_in_the_form_that_events_hold():
    assert LogFilter(client="2001:DB8:0::1").event_filter(NOW).client == "2001:db8::1"
    (left_out,) = LogFilter(excluded=(("client", "10.0.0.7/32"),)).event_filter(NOW).without
    assert left_out.client == "10.0.0.7"


def test_a_filter_becomes_the_ledgers():
    wanted = LogFilter(host="Example.ORG.", since="1d", until="2027-01-31", client="ann").event_filter(NOW)
    assert (wanted.host, wanted.client) == ("example.org", "ann")
    assert LogFilter.parse({"proxy": "one"}).event_filter(NOW) == EventFilter(proxy="one")
    assert LogFilter.parse({"gateway": "squid"}).event_filter(NOW) == EventFilter(gateway="squid")
    assert wanted.since == NOW - 86_400
    assert wanted.until == 1_801_353_600.0


@pytest.mark.parametrize(("since", "until"), [("5m", "1h"), ("1h", "1h"), ("2026-02-01", "2026-01-31")])
def test_a_span_that_is_turned_or_empty_is_told_at_its_end(since, until):
    with pytest.raises(UnusableFilterError, match=f"none lies between {since} and {until}") as refused:
        LogFilter(since=since, until=until).event_filter(NOW)
    assert refused.value.field == "until"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", NOW - 5400),
        ("2026-01-31", 1_769_817_600.0),
        ("2026-01-31T01:00:00", 1_769_821_200.0),
        ("2026-01-31T01:00:00+01:00", 1_769_817_600.0),
        ("2026-01-31T00:00:00Z", 1_769_817_600.0),
    ],
)
def test_a_time_is_an_age_or_a_date_in_utc_unless_it_names_another(text, moment):
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "-", "1d1"])
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(UnusableFilterError, match="expected an age such as 90m or 7d, or a date"):
        parse_moment(text, NOW)


@pytest.mark.parametrize("text", [None, "s0", "s-1", "s123456789012345678", "01ARZ3NDEKTSV4RRFFQ69G5FAV"])
def test_a_place_in_the_log(text):
    assert parse_cursor(text) == text


@pytest.mark.parametrize(
    "text", ["", "s", "s1234567890123456789", "sx", "t1.2", "s1\n", "01ARZ3NDEKTSV4RRFFQ69G5FA"]
)
def test_what_is_no_place_in_the_log_is_refused(text):
    with pytest.raises(UnusableFilterError, match="expected a place in the log"):
        parse_cursor(text)


@pytest.mark.parametrize(("text", "usable"), [("s5", True), ("t12.5", True), ("s-5", False), ("t5", False)])
def test_a_place_in_the_order_of_writing(text, usable):
    if usable:
        assert parse_cursor(text, LIVE_CURSOR) == text
    else:
        with pytest.raises(UnusableFilterError):
            parse_cursor(text, LIVE_CURSOR)
