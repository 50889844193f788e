"""The log, read: a page must be what a plain scan of all events gives, whatever leads the walk."""

import random
import sqlite3

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledgerkit.made import make_database
from ledgerkit.samples import START, identity_of, make_event
from secondlook.core.event import Event, EventKind
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.errors import LedgerError
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions
from secondlook.ledger.log import search
from secondlook.ledger.log.reading import LogReader

pytestmark = pytest.mark.anyio

HOSTS = ("shop.example", "www.shop.example", "müller.example", "100%_sure.example", "evilshop.example")
WORDS = ("Alpha", "beta", "straße", "x_y", "50%", "back\\slash", '"quoted"', "<script>", "É", "'; DROP")


def write(ledger: Ledger, events: list[Event]) -> None:
    for event in events:
        ledger.recorder.record(event)
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)


def sample_events(count: int = 300) -> list[Event]:
    draw = random.Random(5)
    found = []
    for number in range(count):
        kind = draw.choice([EventKind.CHECK, EventKind.CHECK, EventKind.BLOCKED, EventKind.FLAGGED])
        host = draw.choice(HOSTS)
        found.append(
            make_event(
                kind,
                START + number * 600 - (7200 if number % 50 == 0 else 0),
                url=f"https://{host}/{draw.choice(WORDS)}/{number}",
                host=host,
                client=draw.choice(["10.0.0.1", "10.0.0.2", "fd00::1"]),
                stage=draw.choice(["pattern", "query", "rules"]),
                threat="malware" if kind is EventKind.BLOCKED else None,
                cls=draw.choice(list(SubjectClass)),
                subject=draw.choice(list(SubjectKind)),
                rule=draw.choice([None, "r1"]),
                identity=identity_of(number % 20),
                sha256=draw.choice([None, "ab" * 32]),
                filename=draw.choice([None, "setup.exe", "Rechnung\u202efdp.exe"]),
                proxy=draw.choice(["one", "two"]),
                gateway=draw.choice([None, "squid", "192.0.2.1"]),
            )
        )
    return found


EVENTS = sample_events()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request, tmp_path_factory):
    if request.param == "sqlite":
        place = tmp_path_factory.mktemp("log") / "ledger.sqlite3"
    else:
        place = make_database(request.getfixturevalue("postgres"))
    journal = tmp_path_factory.mktemp("journal") / "flags.journal"
    ledger = Ledger.open(place, LedgerOptions(background=False), journal=journal, report=lambda _: None)
    write(ledger, EVENTS[:200])
    if ledger.store.place.sqlite:
        while ledger.store.commit_now(lambda connection: search.add_next(connection, most=64)):
            pass
    write(ledger, EVENTS[200:])  # the newest are not in the search index yet
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """Everything is in the search index."""
    place = tmp_path_factory.mktemp("indexed") / "ledger.sqlite3"
    ledger = Ledger.open(place, LedgerOptions(journal_bytes=4096))
    write(ledger, EVENTS)
    ledger.upkeep._index()
    yield ledger
    ledger.close()


def folded(event: Event) -> str:
    texts = (event.url, event.host, event.client, event.filename, event.sha256, event.threat, event.rule)
    return "\n".join(text for text in texts if text).casefold()


def any_of(value, choice) -> bool:
    return choice is None or (str(value) in choice if isinstance(choice, tuple) else str(value) == choice)


def matches(event: Event, wanted: EventFilter) -> bool:
    host = event.host or ""
    if wanted.host is not None and wanted.host.startswith("*."):
        if not (host == wanted.host[2:] or host.endswith(wanted.host[1:])):
            return False
    elif wanted.host is not None and host != wanted.host:
        return False
    return (
        any_of(event.decision, wanted.decision)
        and any_of(event.kind, wanted.kind)
        and any_of(event.stage, wanted.stage)
        and any_of(event.threat, wanted.threat)
        and any_of(event.subject, wanted.subject)
        and any_of(event.cls, wanted.cls)
        and (wanted.client is None or event.client == wanted.client)
        and (wanted.rule is None or event.rule == wanted.rule)
        and (wanted.sha256 is None or event.sha256 == wanted.sha256)
        and (wanted.identity is None or event.identity == wanted.identity)
        and (wanted.proxy is None or event.proxy == wanted.proxy)
        and (wanted.gateway is None or event.gateway == wanted.gateway)
        and (wanted.since is None or event.time >= wanted.since)
        and (wanted.until is None or event.time < wanted.until)
        and all(word.casefold() in folded(event) for word in (wanted.search or "").split())
        and not any(matches(event, each) for each in wanted.without)
    )


def pages(ledger: Ledger, wanted: EventFilter, limit: int, *, newest_first: bool) -> list[str]:
    found: list[str] = []
    cursor, more = None, True
    while more:
        page = ledger.events.page(wanted, after=cursor, limit=limit, newest_first=newest_first)
        assert len(page.events) <= limit
        found += [event.id for event in page.events]
        cursor, more = page.cursor, page.more
    return found


def maybe(*values):
    return st.none() | st.sampled_from(values)


instants = st.none() | st.integers(-100, 310).map(lambda number: START + number * 600.0)
filters = st.builds(
    EventFilter,
    decision=maybe("allow", "block", "flag", ("allow", "flag"), ("block", "flag"), "none such"),
    kind=maybe("check", "blocked", ("check", "flagged")),
    stage=maybe("pattern", "rules", ("query", "rules")),
    threat=maybe("malware", "social_engineering"),
    subject=maybe("url", "file"),
    cls=maybe("page", "download"),
    host=maybe(*HOSTS, "*.shop.example", "*.example", "nowhere.example"),
    client=maybe("10.0.0.1", "fd00::1", "1.2.3.4"),
    rule=maybe("r1"),
    sha256=maybe("ab" * 32),
    identity=maybe(identity_of(3)),
    proxy=maybe("one", "three"),
    gateway=maybe("squid", "192.0.2.9"),
    since=instants,
    until=instants,
    search=maybe(
        *WORDS,
        "ALPHA",
        "STRASSE",
        "straße",
        "é",
        "sh",
        "%",
        "_",
        "%_s",
        "\\",
        "shop alpha",
        "x_y 10.0.0",
        "MÜLLER",
        "setup.EXE",
        "zzz",
        "\u202efdp",
        "' OR 1",
        '"',
        "a b c",
    ),
    without=maybe(
        (EventFilter(host="*.shop.example"), EventFilter(client="10.0.0.1")),
        (EventFilter(threat="malware", decision=("block", "flag")),),
        (EventFilter(kind="check"), EventFilter(search="alpha")),
        (EventFilter(rule="r1"), EventFilter(sha256="ab" * 32)),
        (EventFilter(search="straße 10.0.0"),),
        (EventFilter(since=START + 40_000.0, until=START + 80_000.0, stage="pattern"),),
    ).map(lambda without: without or ()),
)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(wanted=filters, limit=st.sampled_from([3, 7, 100, 1000]), newest_first=st.booleans())
def test_pages_hold_what_a_plain_scan_finds(filled, wanted, limit, newest_first):
    if wanted.search == "STRASSE":
        return  # engines differ on whether ß equals ss
    expected = [event.id for event in EVENTS if matches(event, wanted)]
    if newest_first:
        expected.reverse()
    assert pages(filled, wanted, limit, newest_first=newest_first) == expected


def test_an_event_comes_back_as_it_was(filled):
    for event in EVENTS[:40]:
        assert filled.events.find(event.id) == event
    assert filled.events.find("0" * 26) is None


def test_everything_is_exported_in_order(filled):
    assert list(filled.events.export()) == EVENTS
    assert list(filled.events.export(newest_first=True)) == EVENTS[::-1]


def test_a_page_after_an_event_id_goes_on_behind_it(filled):
    middle = EVENTS[150]
    newer = filled.events.page(after=middle.id, limit=5, newest_first=False)
    older = filled.events.page(after=middle.id, limit=5)
    assert [event.id for event in newer.events] == [event.id for event in EVENTS[151:156]]
    assert [event.id for event in older.events] == [event.id for event in EVENTS[149:144:-1]]


def test_a_page_after_an_event_that_was_erased_leaves_nothing_out(place, open_ledger):
    ledger = open_ledger(place)
    written = [make_event(at=START + 60.0 * number, client=f"10.0.0.{number}") for number in range(100)]
    write(ledger, written)
    ledger.upkeep.erase_client("10.0.0.50")
    for newest_first, behind in ((True, written[:50]), (False, written[51:])):
        page = ledger.events.page(after=written[50].id, newest_first=newest_first)
        assert {event.id for event in behind} <= {event.id for event in page.events}
        assert len(page.events) <= 50 + 60  # an hour more at most


@pytest.mark.parametrize("text", ["\udcff", "a\0", "a\0b", "é\0é", "\0"])
def test_text_that_no_column_can_hold_is_looked_for_as_it_was_stored(place, open_ledger, text):
    ledger = open_ledger(place)
    odd = make_event(host=text, client=text, gateway=text)
    write(ledger, [odd, make_event(host="a.example", client="é", gateway="a")])
    for wanted in ({"search": text}, {"host": text}, {"client": text}, {"gateway": text}, {"proxy": text}):
        found = [event.id for event in ledger.events.page(EventFilter(**wanted)).events]
        assert found == ([] if "proxy" in wanted else [odd.id])
        assert [event.id for event in ledger.events.tail(EventFilter(**wanted), after="s0")[0]] == found


def test_a_cursor_that_is_none_is_refused_in_words(filled):
    with pytest.raises(LedgerError, match="'nonsense' is neither an event id nor a cursor"):
        filled.events.page(after="nonsense")


def test_a_walk_that_takes_too_long_stops_and_can_go_on(filled):
    wanted = EventFilter(search="~~")
    page = LogReader(filled.store.readers).page(wanted, after=None, limit=10, newest_first=True, budget_s=0.0)
    assert page.events == ()
    assert pages(filled, wanted, 10, newest_first=True) == []


def test_hourly_counts_cover_every_hour(filled):
    hours = filled.statistics.hourly(START - 7200, START + 300 * 600)
    assert [hour.at % 3600 for hour in hours] == [0.0] * len(hours)
    assert sum(hour.checked for hour in hours) == len(EVENTS)
    assert sum(hour.blocked for hour in hours) == sum(e.kind is EventKind.BLOCKED for e in EVENTS)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (EventFilter(host="shop.example"), "events_host"),
        (EventFilter(client="10.0.0.1"), "events_client"),
        (EventFilter(stage="rules", client="no such user"), "words"),
        (EventFilter(decision="block"), "events_decision"),
        (EventFilter(decision=("block", "flag")), "events_decision"),
        (EventFilter(kind="late_verdict"), "events_kind"),
        (EventFilter(threat="malware"), "events_threat"),
        (EventFilter(stage="rules"), "events_stage"),
        (EventFilter(stage="rules", client="1.2.3.4"), "events_client"),
        (EventFilter(search="alpha"), "words"),
        (EventFilter(search="alpha", client="1.2.3.4"), "events_client"),
        (EventFilter(search="zzzz", client="10.0.0.1"), "words"),
    ],
)
def test_the_rarest_filter_leads_by_its_index(indexed, wanted, index):
    ledger = indexed
    plans: list[str] = []

    @sa.event.listens_for(ledger.store.readers, "before_cursor_execute")
    def explain(connection, cursor, statement, parameters, _context, _many):
        if ("FROM events" in statement and "referrer" in statement) or "ORDER BY rowid" in statement:
            rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.extend(str(row[-1]) for row in rows)

    ledger.events.page(wanted)
    sa.event.remove(ledger.store.readers, "before_cursor_execute", explain)
    assert any(f" {index}" in plan for plan in plans), plans


def test_visits_are_found_by_their_index(tmp_path):
    with sqlite3.connect(":memory:") as raw:
        raw.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, identity, decision, kind)")
        raw.execute(
            "CREATE INDEX events_identity ON events (identity) "
            "WHERE identity IS NOT NULL AND decision != 'block'"
        )
        (plan,) = raw.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM events WHERE events.identity = ? AND events.identity IS NOT NULL "
            "AND events.decision != 'block' AND events.kind IN ('check') ORDER BY events.seq",
            (b"",),
        )
    raw.close()
    assert "USING INDEX events_identity" in plan[-1]


async def test_a_search_of_absurd_length_is_cut(filled):
    assert filled.events.page(EventFilter(search="a" * 100_000 + " b" * 10_000)).events == ()


async def test_the_tail_gives_each_event_once_whoever_wrote_it(place, open_ledger):
    first, second = open_ledger(place), open_ledger(place)
    write(first, EVENTS[:3])
    cursor = first.events.end()
    seen: list[str] = []
    written: list[str] = []
    for number in range(10, 40, 3):
        write(second if number % 2 else first, EVENTS[number : number + 3])
        written += [event.id for event in EVENTS[number : number + 3]]
        found, cursor = first.events.tail(after=cursor, limit=2)
        seen += [event.id for event in found]
    while found := first.events.tail(after=cursor, limit=2)[0]:
        seen += [event.id for event in found]
        cursor = first.events.tail(after=cursor, limit=2)[1]
    assert seen == written


async def test_the_tail_takes_up_after_an_event_id(place, open_ledger):
    ledger = open_ledger(place)
    for event in EVENTS[:6]:
        write(ledger, [event])
    found, _ = ledger.events.tail(after=EVENTS[3].id)
    assert [event.id for event in found] == [EVENTS[4].id, EVENTS[5].id]


async def test_a_log_that_was_begun_anew_is_followed_from_its_beginning(tmp_path, open_ledger):
    """As where a damaged ledger was set aside: who had come to event 500 must not wait for number 501."""
    ledger = open_ledger(tmp_path / "ledger.sqlite3")
    assert ledger.events.tail(after="s500") == ([], "s0")
    write(ledger, EVENTS[:3])
    found, cursor = ledger.events.tail(after="s500")
    assert [event.id for event in found] == [event.id for event in EVENTS[:3]]
    assert ledger.events.tail(after=cursor) == ([], cursor)
    ledger.store.commit_now(lambda connection: connection.exec_driver_sql("DELETE FROM events WHERE seq > 1"))
    assert ledger.events.tail(after=cursor) == ([], cursor)  # where only its newest were erased, it goes on
    write(ledger, EVENTS[3:4])
    assert [event.id for event in ledger.events.tail(after=cursor)[0]] == [EVENTS[3].id]


async def test_the_tail_obeys_its_filter(place, open_ledger):
    ledger = open_ledger(place)
    cursor = ledger.events.end()
    write(ledger, EVENTS[:100])
    wanted = EventFilter(decision="block", host="*.shop.example")
    found, cursor = ledger.events.tail(wanted, after=cursor)
    assert [event.id for event in found] == [event.id for event in EVENTS[:100] if matches(event, wanted)]
    assert ledger.events.tail(wanted, after=cursor)[0] == []
    wanted = EventFilter(since=EVENTS[20].time, until=EVENTS[40].time)
    found, _ = ledger.events.tail(wanted, after="s0")
    assert [event.id for event in found] == [event.id for event in EVENTS[:100] if matches(event, wanted)]


async def test_a_tail_misses_nothing_that_commits_late(postgres, open_ledger):
    """On PostgreSQL a smaller number may become visible after a greater one."""
    ledger = open_ledger(make_database(postgres))
    cursor = ledger.events.end()
    slow = ledger.store.readers.execution_options().connect()
    slow.exec_driver_sql("SET default_transaction_read_only = off")
    slow.rollback()
    slow.exec_driver_sql("SET TRANSACTION READ WRITE")
    slow.exec_driver_sql(f"INSERT INTO events (id, time, kind) VALUES ('{'0' * 26}', 1, 'check')")
    write(ledger, EVENTS[:2])
    seen, cursor = ledger.events.tail(after=cursor)
    assert seen == []  # held back while an older transaction still writes
    slow.commit()
    slow.close()
    seen, _ = ledger.events.tail(after=cursor)
    assert {event.id for event in seen} == {"0" * 26, EVENTS[0].id, EVENTS[1].id}


async def test_the_same_id_is_written_once(place, open_ledger):
    ledger = open_ledger(place)
    write(ledger, [EVENTS[0], EVENTS[0]])
    write(ledger, [EVENTS[0]])
    assert len(ledger.events.page().events) == 1
    assert sum(hour.checked for hour in ledger.statistics.hourly(EVENTS[0].time, EVENTS[0].time)) == 1
