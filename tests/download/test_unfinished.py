"""What gave something risky that nobody judged whole: known to all workers, and of whom has a part of it."""

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secondlook.core.subject import RequestContext
from secondlook.core.verdict import SubjectClass
from secondlook.download.judged_files import JudgedFiles
from secondlook.download.request_facts import RequestFacts
from secondlook.download.unfinished import LASTS_S, Unfinished

URL, OTHER = b"u" * 32, b"o" * 32
USE = RequestContext(SubjectClass.DOWNLOAD, client="192.0.2.1")
ARIA = RequestFacts(agent="aria2/1.36.0")


class Workers:
    """Two of an installation, each with what it knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.threads = [ThreadPoolExecutor(1) for _ in range(2)]
        self.here, self.there = (Unfinished(JudgedFiles(folder, b"k" * 32, one)) for one in self.threads)

    def concerns(self, url: bytes, context: RequestContext = USE, asked: RequestFacts = ARIA) -> bool:
        """Whether the other worker knows, once the first has written."""
        self.threads[0].submit(int).result()
        return asyncio.run(self.there.concerns(url, context, asked))


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path / "judged")
    yield workers
    for thread in workers.threads:
        thread.shutdown()


def test_nothing_is_known_of_what_nobody_got(workers):
    assert not workers.concerns(URL)


def test_a_url_that_gave_a_risky_file_is_known_to_all_until_it_gives_another(workers):
    workers.here.note(URL)
    assert workers.concerns(URL)
    assert not workers.concerns(OTHER)
    workers.here.forget(URL)
    assert not workers.concerns(URL)


def test_who_has_a_part_of_a_risky_file_may_get_the_rest_from_anywhere(workers):
    workers.here.begin(USE, ARIA)
    assert workers.concerns(OTHER)
    assert not workers.concerns(OTHER, RequestContext(SubjectClass.DOWNLOAD, client="192.0.2.2"))
    assert not workers.concerns(OTHER, asked=RequestFacts(agent="mpv"))
    workers.here.end(USE, ARIA)
    assert not workers.concerns(OTHER)


def test_clients_whom_nobody_names_are_not_taken_for_one(workers):
    nobody = RequestContext(SubjectClass.DOWNLOAD)
    workers.here.begin(nobody, ARIA)
    assert not workers.concerns(OTHER, nobody)


def test_a_browser_puts_nothing_together(workers):
    workers.here.begin(USE, RequestFacts(dest="document"))
    assert not workers.concerns(OTHER, asked=RequestFacts(dest="video"))
    assert not list(workers.folder.glob("*"))


def test_it_ends_after_a_time(workers):
    workers.here.begin(USE, ARIA)
    assert workers.concerns(OTHER)
    (mark,) = workers.folder.iterdir()
    for seconds, lasts in ((LASTS_S - 60, True), (LASTS_S + 60, False)):
        os.utime(mark, (time.time() - seconds,) * 2)
        assert workers.concerns(OTHER) is lasts


def test_a_mark_tells_nobody_who_it_is_of(workers):
    for secret in (b"k" * 32, b"l" * 32):
        Unfinished(JudgedFiles(workers.folder, secret, workers.threads[0])).begin(USE, ARIA)
    workers.threads[0].submit(int).result()
    assert len(list(workers.folder.iterdir())) == 2


def test_a_process_that_ends_writes_nothing_more(workers):
    workers.threads[0].shutdown()
    workers.here.begin(USE, ARIA)
    assert not workers.folder.exists()
