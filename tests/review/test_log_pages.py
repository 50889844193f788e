"""The log and its entries, over a real ledger."""

import re
from html import unescape

import pytest

from review.stage import keep, make_event
from secondlook.core.event import EventKind
from secondlook.core.subject import SubjectKind
from secondlook.ledger.log import reading
from secondlook.ledger.log.reading import LogReader
from secondlook.review import words


def test_an_empty_log_says_why(client, ledger, monkeypatch):
    assert "No events yet" in client.get("/log").text
    assert "No such events" in client.get("/log?decision=block").text
    keep(ledger, *[make_event(url=f"http://a.example/{number}") for number in range(3)])
    monkeypatch.setattr(reading, "_WINDOW", 1)
    monkeypatch.setitem(LogReader.page.__kwdefaults__, "budget_s", 0.0)
    shown = client.get("/log?search=zz").text
    assert "Nothing found so far" in shown
    assert ">Older</a>" in shown
    turned = 0
    for way in ("Older", "Newer"):  # to the end and back, over pages that hold nothing
        while link := re.search(rf'href="([^"]+)" rel="\w+">{way}<', shown):
            shown = client.get(unescape(link[1])).text
            turned += 1
    assert turned == 4  # three events, one looked at on each page


@pytest.mark.parametrize("after", ["x", "s", "t5", "01M9", "s1;drop"])
def test_the_live_log_begins_only_at_a_place_that_its_page_gave(client, after):
    assert client.get("/log.live", params={"after": after}).status_code == 400
    assert client.get("/log.live", headers={"Last-Event-ID": after}).status_code == 400


def test_the_log_filters_and_keeps_its_state_in_the_url(client, ledger):
    keep(
        ledger,
        make_event(url="http://one.example/", host="one.example"),
        make_event(EventKind.CHECK, url="http://two.example/", host="two.example", decision="allow"),
    )
    shown = client.get("/log?decision=block&search=one").text
    assert "one.example" in shown
    assert "two.example" not in shown
    assert 'href="/log.csv?search=one&amp;decision=block"' in shown
    assert '<option value="block" selected' in shown


def test_where_proxies_share_a_log_it_is_filtered_by_their_names(client, ledger, program):
    keep(
        ledger,
        make_event(url="http://one.example/", host="one.example", proxy="one"),
        make_event(url="http://two.example/", host="two.example", proxy="two"),
    )
    assert 'name="proxy"' not in client.get("/log").text
    program.shared_as = "one"
    assert 'name="proxy"' in client.get("/log").text
    shown = client.get("/log?proxy=two").text
    assert ("one.example" in shown, "two.example" in shown) == (False, True)
    found = client.get("/api/v1/events?proxy=one").json()["events"]
    assert [event["host"] for event in found] == ["one.example"]


def test_where_gateways_ask_the_log_is_filtered_by_them(client, ledger, program):
    keep(
        ledger,
        make_event(url="http://one.example/", host="one.example", gateway="squid"),
        make_event(url="http://two.example/", host="two.example", gateway="192.0.2.1"),
        make_event(url="http://three.example/", host="three.example"),
    )
    assert 'name="gateway"' not in client.get("/log").text
    program.gateways = True
    assert 'name="gateway"' in client.get("/log").text
    shown = client.get("/log?gateway=squid").text
    assert [f"{host}.example" in shown for host in ("one", "two", "three")] == [True, False, False]
    (found,) = client.get("/api/v1/events?gateway=192.0.2.1").json()["events"]
    assert found["host"] == "two.example"
    assert re.search(r"<dt>Gateway</dt>\s*<dd[^>]*>192\.0\.2\.1<", client.get(f"/log/{found['id']}").text)


@pytest.mark.parametrize(
    "query", ["decision=nonsense", "since=yesterday", "kind=%3Cb%3E", "search=" + "x" * 600]
)
def test_an_unusable_filter_is_explained(client, query):
    answer = client.get(f"/log?{query}")
    assert answer.status_code == 400
    assert "xpected" in answer.text


def test_pages_of_the_log_join_without_gap_or_overlap(client, ledger):
    keep(
        ledger,
        *[
            make_event(url=f"http://h.example/{number:04}", time=1_790_000_000 + number)
            for number in range(250)
        ],
    )
    seen, path, back = [], "/log", []
    while path:
        shown = client.get(path).text
        seen += re.findall(r"h\.example</bdi></span><span class=\"path\">/(\d{4})", shown)
        older = re.search(r'href="(/log\?after=[^"]+)"', shown)
        newer = re.search(r'href="(/log\?before=[^"]+)"', shown)
        back.append(newer and newer[1])
        path = older and older[1]
    assert [int(number) for number in seen] == list(range(249, -1, -1))
    shown = client.get(back[-1]).text
    assert "http://h.example/0149" in shown
    assert "http://h.example/0050" in shown
    assert "http://h.example/0049" not in shown


def test_pages_of_the_log_go_forward_from_the_oldest_and_back(client, ledger):
    keep(
        ledger,
        *[
            make_event(url=f"http://h.example/{number:04}", time=1_790_000_000 + number)
            for number in range(250)
        ],
    )

    def walk(path, way):
        seen = []
        while path:
            shown = client.get(path).text
            numbers = re.findall(r"class=\"path\">/(\d{4})", shown)
            seen.append([int(numbers[0]), int(numbers[-1])])
            link = re.search(rf'href="(/log[^"]+)" rel="\w+">{way}<', shown)
            path, last = link and unescape(link[1]), path
        return seen, last

    seen, last = walk("/log?sort=oldest", "Newer")
    assert seen == [[0, 99], [100, 199], [200, 249]]
    seen, _ = walk(last, "Older")
    assert seen == [[200, 249], [100, 199], [0, 99]]


def test_a_page_is_put_in_the_order_of_what_it_holds(client, ledger):
    keep(ledger, *[make_event(host=h, url=f"https://{h}/", client=c) for h, c in [("b.example", "2"), ("a.example", "3"), ("c.example", "1")]])  # fmt: skip
    for sort, expected in (("", "cab"), ("oldest", "bac"), ("host", "abc"), ("client", "cba")):
        shown = client.get("/log", params={"sort": sort}).text
        assert "".join(re.findall(r'"host"><bdi>(\w)\.example</bdi></span>', shown)) == expected, sort
    assert client.get("/log?sort=nonsense").status_code == 400


def test_what_is_left_out_is_not_shown_nor_exported_and_has_a_chip(client, ledger):
    keep(
        ledger,
        make_event(url="http://one.example/", host="one.example", client="10.0.0.7"),
        make_event(url="http://two.example/", host="two.example"),
    )
    query = "decision=block&not=host%3Aone.example"
    shown = client.get(f"/log?{query}").text
    assert '"host"><bdi>two.example</bdi>' in shown
    assert '"host"><bdi>one.example</bdi>' not in shown
    assert 'href="/log?decision=block"><span class="wrap">not host: one.example<' in shown
    assert 'href="/log?not=host%3Aone.example"><span class="wrap">decision: blocked<' in shown
    assert 'name="not" value="host:one.example"' in shown  # typing something else keeps it
    assert "one.example" not in client.get(f"/log.csv?{query}").text
    everything = client.get("/log").text
    assert 'href="/log?not=client%3A10.0.0.7">without<' in everything
    assert 'href="/log?client=10.0.0.7">only<' in everything


def test_request_and_body_are_one_row_and_the_same_again_too(client, ledger):
    now = 1_790_000_000
    url = "https://h.example/setup.exe"
    request = make_event(EventKind.CHECK, decision="allow", url=url, host="h.example", time=now)
    body = make_event(url=url, host="h.example", time=now + 2, subject=SubjectKind.FILE, sha256="07" * 32)
    again = [make_event(url="https://again.example/", host="again.example", time=now + n) for n in (3, 4, 5)]
    keep(ledger, request, body, *again)
    shown = client.get("/log").text
    rows = re.findall(r"<tr>.*?</tr>", shown.partition("<tbody")[2], re.DOTALL)
    assert len(rows) == 2
    assert "×3" in rows[0]
    assert all(f"/log/{event.id}" in rows[0] for event in again)
    assert f"/log/{request.id}" in rows[1]
    assert f"/log/{body.id}" in rows[1]
    apart = client.get("/log?apart=1").text
    assert len(re.findall("<tr>.*?</tr>", apart.partition("<tbody")[2], re.DOTALL)) == 5


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("since", "yesterday", "expected an age such as 90m or 7d"),
        ("until", "2026-13-01", "expected an age such as 90m or 7d"),
        ("kind", "nonsense", "expected one of check,"),
        ("search", "x" * 600, "expected at most 512 characters"),
    ],
)
def test_a_rejected_filter_keeps_what_was_typed_with_the_message_beside_it(client, field, value, message):
    answer = client.get("/log", params={"host": "kept.example", field: value})
    assert answer.status_code == 400
    assert 'name="host" value="kept.example"' in answer.text
    assert f'aria-describedby="fault-{field}"' in answer.text
    assert re.search(f'id="fault-{field}" role="alert">{message}', answer.text)


def test_an_entry_explains_itself_and_offers_rules(client, ledger):
    event = make_event(
        extra={"steps": [{"stage": "rules", "outcome": "miss", "detail": None, "elapsed_ms": 0.01}]}
    )
    keep(ledger, event)
    shown = client.get(f"/log/{event.id}").text
    assert "It stands on the list URLhaus (malware), which names suspected malware." in shown
    assert "This host and everything on it" in shown
    assert 'value="http://malware.example/a"' in shown
    assert "I believe that this entry is a mistake" in shown
    assert client.get("/log/none").status_code == 404


def test_a_report_names_the_feeds_and_stands_only_where_a_list_decided(client, ledger):
    listed = make_event(extra={"feeds": ["abuse", "phish"], "age_s": 41})
    flagged = make_event(EventKind.FLAGGED, stage="unverifiable", list=None)
    keep(ledger, listed, flagged)
    shown = client.get(f"/log/{listed.id}").text
    assert shown.count("abuse, phish") == 2  # a fact, and in the text to send
    assert "List age (s)" in shown
    assert "Is this a mistake?" not in client.get(f"/log/{flagged.id}").text


def test_a_report_of_a_file_names_its_address_digest_and_size(client, ledger):
    file = make_event(
        subject=SubjectKind.FILE,
        url="http://a.example/setup",
        filename="setup.exe",
        sha256="ab" * 32,
        size=68,
    )
    keep(ledger, file)
    text = client.get(f"/api/v1/events/{file.id}/report").json()["text"]
    assert text.splitlines()[2:6] == [
        "  http://a.example/setup",
        "  file: setup.exe",
        f"  SHA-256: {'ab' * 32}",
        "  size in bytes: 68",
    ]


@pytest.mark.parametrize(
    ("event", "subject", "why"),
    [
        (
            {"kind": "update", "list": "mw-8b", "server": "own", "detail": "2 entries"},
            "mw-8b",
            "2 entries (own)",
        ),
        (
            {"kind": "server", "server": "own", "detail": "opened: refused"},
            "own",
            "stopped answering: refused",
        ),
        ({"kind": "paused", "detail": "for 5 minutes"}, "for 5 minutes", ""),
        (
            {"kind": "blocked", "stage": "pattern", "list": "mw-8b"},
            "(not kept: privacy level)",
            "pattern (mw-8b)",
        ),
    ],
)
def test_a_row_says_nothing_twice(event, subject, why):
    assert (words.subject(event), words.why(event)) == (subject, why)


def test_a_row_of_a_file_is_about_the_file(client, ledger):
    keep(ledger, make_event(subject=SubjectKind.FILE, sha256="07" * 32))
    assert f'form="decide" name="allow" value="{"07" * 32}"' in client.get("/log").text


def test_an_entry_tells_who_was_let_through_when_and_both_forms_of_a_host(client, ledger):
    host = "xn--bcher-kva.test"
    extra = {
        "let_through": [{"client": "10.0.0.7", "user": None, "time": 1795597571.5}],
        "actions": [{"action": "quarantine", "done": True, "detail": "/tmp/x: put into quarantine"}],
    }
    event = make_event(EventKind.CONFIRMED, url=f"http://{host}/", host=host, extra=extra)
    keep(ledger, event)
    shown = client.get(f"/log/{event.id}").text
    assert '10.0.0.7: <time datetime="2026-11-25T09:06:11.500Z">' in shown
    assert "quarantine: /tmp/x: put into quarantine" in shown
    assert "bücher.test (xn--bcher-kva.test)" in shown
