"""Statistics of the overview: ranges, sums that agree, one client alone, people's words, links to the log."""

import re
import time
from html import unescape

import pytest
import sqlalchemy as sa

from review.stage import keep, make_event
from secondlook.core.event import EventKind
from secondlook.ledger.log.counting import DAY_S, HOUR_S
from secondlook.review.operations.statistics import RANGES, gather

NOW = 1_790_000_000.0 // DAY_S * DAY_S + 13.5 * HOUR_S


@pytest.fixture
def filled(ledger):
    for age_s, client, host in (
        (60, "10.0.0.1", "a.example"),
        (5 * HOUR_S, "10.0.0.1", "a.example"),
        (3 * DAY_S, "10.0.0.2", "b.example"),
        (20 * DAY_S, "10.0.0.2", "c.example"),
        (40 * DAY_S, "10.0.0.2", "d.example"),
    ):
        keep(ledger, make_event(time=NOW - age_s, client=client, host=host))
    keep(ledger, make_event(EventKind.CHECK, time=NOW - 30, client="10.0.0.2", decision="allow", threat=None))
    return ledger


@pytest.mark.parametrize(
    ("name", "blocked", "bars"), [("1h", 1, 12), ("24h", 2, 24), ("7d", 3, 27), ("30d", 4, 30)]
)
def test_each_range_counts_what_is_in_it(filled, name, blocked, bars):
    found = gather(filled.statistics, name, None, NOW, {})
    assert (found["checked"], found["blocked"], len(found["bars"])) == (blocked + 1, blocked, bars)
    for key in ("hosts", "lists", "threats"):
        assert sum(each["count"] for each in found[key]) == blocked
    assert sum(each["blocked"] for each in found["clients"]) == blocked


@pytest.mark.parametrize("name", RANGES)
def test_of_one_client_alone(filled, name):
    found = gather(filled.statistics, name, "10.0.0.1", NOW, {})
    wanted = 1 if name == "1h" else 2
    assert (found["checked"], found["blocked"]) == (wanted, wanted)
    assert found["hosts"] == [{"name": "a.example", "title": "a.example", "count": wanted}]
    assert found["clients"] == []


def test_lists_have_the_words_of_people(filled):
    (each,) = gather(filled.statistics, "24h", None, NOW, {"mw-8b": "URLhaus (malware)"})["lists"]
    assert each == {"name": "mw-8b", "title": "URLhaus (malware)", "count": 2}


def test_how_long_servers_took_is_told_by_classes(ledger):
    for elapsed_ms in [3.0] * 18 + [80.0] * 2:
        ledger.counts.tally(EventKind.CHECK, "allow", "query", server="near", elapsed_ms=elapsed_ms, at=NOW)
    ledger.counts.tally(EventKind.CHECK, "allow", "query", server="slow", elapsed_ms=9_000.0, at=NOW)
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)
    assert gather(ledger.statistics, "1h", None, NOW, {})["servers"] == [
        {"name": "near", "answers": 20, "median_ms": 5, "p95_ms": 100},
        {"name": "slow", "answers": 1, "median_ms": None, "p95_ms": None},
    ]


@pytest.mark.parametrize("name", RANGES)
def test_gateways_that_asked_stand_in_the_overview_of_everybody(client, ledger, name):
    now = time.time()
    keep(ledger, make_event(time=now - 1, client="10.0.0.1"))  # through the proxy
    page = f"/?range={name}"
    assert 'id="top-gateways"' not in client.get(page).text
    keep(
        ledger,
        make_event(time=now - 1, client="10.0.0.1", gateway="<squid>", url="http://t.example/"),
        make_event(EventKind.CHECK, time=now - 1, decision="allow", threat=None, gateway="<squid>"),
        make_event(EventKind.FLAGGED, time=now - 1, decision="flag", threat=None, gateway="192.0.2.1"),
    )
    found = client.get(f"/api/v1/statistics?range={name}").json()["gateways"]
    assert found == [
        {"gateway": "<squid>", "checked": 2, "blocked": 1, "flagged": 0},
        {"gateway": "192.0.2.1", "checked": 1, "blocked": 0, "flagged": 1},
    ]
    links = {unescape(link) for link in re.findall(r'href="(/log\?[^"]+)"', client.get(page).text)}
    (blocked,) = [link for link in links if "gateway=%3Csquid%3E" in link and "decision=block" in link]
    shown = client.get(blocked).text
    assert ("http://t.example/" in shown, "http://malware.example/" in shown) == (True, False)
    assert any("gateway=192.0.2.1" in link for link in links)
    assert 'id="top-gateways"' not in client.get(f"{page}&client=10.0.0.1").text


@pytest.mark.parametrize("name", RANGES)
def test_the_overview_links_every_name_to_the_log_that_holds_it(client, ledger, name):
    keep(
        ledger,
        make_event(time=time.time() - 1, client="10.0.0.1"),
        make_event(time=time.time() - 1, client="10.0.0.2"),
    )
    page = client.get(f"/?range={name}&client=10.0.0.1").text
    assert "URLhaus (malware)" in page
    links = {unescape(link) for link in re.findall(r'href="(/log\?[^"]+)"', page)}
    for wanted in ("host=malware.example", "list=mw-8b", "threat=malware", "until="):
        (link, *_) = [link for link in links if wanted in link]
        assert "client=10.0.0.1" in link
    for link in links:
        shown = client.get(link)
        assert shown.status_code == 200
        if "until=" not in link and "decision=flag" not in link:
            assert "malware.example" in shown.text
            assert "10.0.0.2" not in shown.text


def test_what_is_no_range_or_client_is_refused_in_words(client):
    assert client.get("/?range=year").status_code == 400
    assert "expected one of 1h, 24h, 7d, 30d" in client.get("/?range=year").text
    assert client.get("/api/v1/statistics?range=year").status_code == 422


def test_names_stand_with_their_share_of_what_was_blocked(client, ledger):
    now = time.time()
    for number in range(150):
        host = "rare.example" if not number else "often.example" if number < 100 else "other.example"
        keep(ledger, make_event(time=now - 1, host=host, url=f"http://{host}/{number}"))
    page = client.get("/?range=1h").text
    shares = re.findall(r'title="(\w+)\.example">.*?<span class="share">([^<]+)</span>', page)
    assert [(name, unescape(share)) for name, share in shares] == [
        ("often", "66 %"),
        ("other", "33 %"),
        ("rare", "< 1 %"),
    ]


def test_the_api_returns_the_same_figures(client, ledger):
    keep(ledger, make_event(time=time.time() - 1, client="10.0.0.1"))
    found = client.get("/api/v1/statistics?range=1h").json()
    assert (found["range"], found["blocked"], len(found["bars"])) == ("1h", 1, 12)
    assert found["lists"] == [{"name": "mw-8b", "title": "URLhaus (malware)", "count": 1}]
    assert [each["client"] for each in found["clients"]] == ["10.0.0.1"]


def test_in_assessment_mode_names_link_to_what_would_be_blocked(client, ledger, program):
    program.assessing = True
    keep(ledger, make_event(EventKind.WOULD_BLOCK, time=time.time() - 1, decision="allow"))
    page = client.get("/").text
    assert "Hosts that would be blocked" in page
    (link,) = {unescape(found) for found in re.findall(r'href="(/log\?[^"]+host=[^"]+)"', page)}
    assert "malware.example" in client.get(link).text.partition("<tbody")[2]


def test_ways_and_servers_are_drawn_and_stand_in_tables(client, ledger):
    ledger.counts.tally(EventKind.CHECK, "allow", "cache", elapsed_ms=0.2)
    ledger.counts.look("sps<1>", answered=True)
    ledger.counts.look("sps<1>", answered=False)
    ledger.counts.flush()
    keep(ledger, make_event(EventKind.CHECK, stage="query", server="near", elapsed_ms=30.0))
    shown = client.get("/?range=1h").text
    assert re.search(r"Cached answer</td><td[^>]*>1</td><td[^>]*>1 ms", shown)
    assert re.search(r"near</td><td[^>]*>1</td><td[^>]*>50 ms", shown)
    assert 'aria-label="100 ms 100 %"' in shown
    assert 'sps&lt;1&gt;</span><strong class="nowrap">50 %' in shown
    assert 'class="partly"' in shown
    assert shown.count("not looked at") == 2 * (shown.count('class="unknown"') - 1)  # one is of the legend
    assert "Servers that answered" not in client.get("/?range=1h&client=10.0.0.1").text
    found = client.get("/api/v1/statistics?range=1h").json()
    assert [each["name"] for each in found["ways"]] == ["cached", "asked"]
    assert [(each["name"], each["share"]) for each in found["availability"]] == [("sps<1>", 0.5)]


@pytest.mark.parametrize("client_name", [None, "10.0.0.1"])
def test_the_overview_reads_counts_and_no_more_events_than_it_shows(filled, client, client_name):
    """However many events there are: of them only the newest few are looked at, by an index."""
    read = []

    def note(connection, _cursor, statement, parameters, *_):
        read.append((statement, parameters))

    engine = filled.store.readers
    sa.event.listen(engine, "before_cursor_execute", note)
    for name in RANGES:
        assert client.get("/", params={"range": name, "client": client_name or ""}).status_code == 200
    sa.event.remove(engine, "before_cursor_execute", note)
    about = [statement for statement, _ in read if re.search(r"\bevents\b", statement)]
    shares = [statement for statement, _ in read if "FROM shares" in statement]
    assert shares
    assert [each for each in shares if not re.search(r"shares\.at (>=|BETWEEN)", each)] == []
    assert about
    ends = "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"  # of the primary key
    assert [each for each in about if "LIMIT" not in each and each != ends] == []
