"""What the review shows and does, as data: lists by people's words, and the queue page by page."""

import asyncio
import html
import re
import threading

import pytest

from ledgerkit import samples
from review.stage import make_event
from secondlook.core.event import EventKind
from secondlook.review import words
from secondlook.review.pages import pages


def test_a_list_is_called_after_its_server_where_that_is_known(operations, monkeypatch):
    lists = [
        {"name": "mw-8b", "server": "embedded", "title": "URLhaus (malware)"},
        {"name": "mw-8b", "server": "office", "title": "office (malware)"},
        {"name": "se-8b", "server": "office", "title": "office (phishing or deception)"},
    ]
    monkeypatch.setattr(operations.program, "lists", lambda: lists)
    titles = asyncio.run(operations.titles())
    assert titles["mw-8b"] == "URLhaus (malware), office (malware)"  # whose it is was not kept, as in counts
    event = {"list": "mw-8b", "server": "embedded"}
    assert words.list_title(event, titles) == "URLhaus (malware)"
    assert words.list_title({**event, "server": "office"}, titles) == "office (malware)"
    assert words.list_title({**event, "server": "gone"}, titles) == titles["mw-8b"]
    assert words.list_title({**event, "server": None}, titles) == titles["mw-8b"]
    assert words.list_title({"list": "gone-8b", "server": "office"}, titles) == "gone-8b"


@pytest.mark.parametrize("what", ["lists", "feeds", "alerts", "rolled_back"])
def test_what_the_program_reads_from_files_holds_up_no_loop(operations, monkeypatch, what):
    threads = []

    def noted():
        threads.append(threading.current_thread())
        return []

    monkeypatch.setattr(operations.program, what, noted)
    asyncio.run(operations.overview() if what == "alerts" else getattr(operations, what)())
    assert threads
    assert threading.current_thread() not in threads


def test_the_queue_goes_on_where_its_last_entry_is_gone(client, ledger, monkeypatch):
    """A second look takes entries away while somebody reads them page by page."""
    monkeypatch.setattr(pages, "QUEUE_PAGE", 2)
    for number in range(5):
        asyncio.run(ledger.flags.flag(*samples.make_flag(f"s{number}", samples.START + number / 3)))

    def shown(page):
        return re.findall(r"<bdi>(s\d)\.example", page)

    first = client.get("/flagged").text
    following = html.unescape(re.search(r'href="(/flagged\?[^"]+)" rel="next"', first).group(1))
    asked = client.get("/api/v1/queue?limit=2").json()
    last = ledger.queue.page(limit=2)[-1]
    asyncio.run(ledger.queue.close([(last, make_event(EventKind.CLEARED))]))
    assert shown(first) == ["s0", "s1"]
    assert shown(client.get(following).text) == ["s2", "s3"]
    going_on = client.get("/api/v1/queue", params={"limit": 2, "after": asked["after"]}).json()
    assert [entry["host"] for entry in going_on["entries"]] == ["s2.example", "s3.example"]
    beyond = client.get("/flagged", params={"after": f"{samples.START + 9}-{last.id}"}).text
    assert "from its beginning" in beyond
    assert client.get("/flagged?after=x").status_code == 400
    assert client.get("/api/v1/queue?after=x").status_code == 422
