"""The headers of a request that a check or a refusal looks at."""

import pytest

from secondlook.download.request_facts import RequestFacts, read_request_facts


def test_each_is_found_whatever_its_case():
    fields = [
        (b"HOST", b" example.org:8080 "),
        (b"Accept", b"text/html"),
        (b"sec-fetch-DEST", b"document"),
        (b"Sec-Fetch-Mode", b"navigate"),
        (b"Referer", b"http://\xe4.example/"),
        (b"Accept-Language", b"sv"),
        (b"Range", b"bytes=0-1"),
        (b"If-Range", b'"tag"'),
        (b"Cookie", b"a=b"),
    ]
    assert read_request_facts(fields) == RequestFacts(
        hosts=("example.org:8080",),
        accept="text/html",
        dest="document",
        mode="navigate",
        referrer="http://ä.example/",
        language="sv",
        range="bytes=0-1",
        if_range='"tag"',
    )
    assert read_request_facts([]) == RequestFacts()


def test_of_several_the_last_counts_but_every_host_and_every_type():
    fields = [(b"Host", b"a.test"), (b"Host", b"b.test"), (b"Accept", b"text/html"), (b"accept", b"*/*")]
    found = read_request_facts([*fields, (b"Referer", b"http://first/"), (b"Referer", b"http://last/")])
    assert (found.hosts, found.accept) == (("a.test", "b.test"), "text/html, */*")
    assert found.referrer == "http://last/"


@pytest.mark.parametrize(
    ("mode", "dest"), [("navigate", "document"), ("cors", "empty"), ("no-cors", "empty")]
)
def test_a_page_that_a_service_worker_asks_for_is_a_page(mode, dest):
    found = read_request_facts([(b"Sec-Fetch-Mode", mode.encode()), (b"Sec-Fetch-Dest", b"empty")])
    assert (found.dest, found.mode) == (dest, mode)


@pytest.mark.parametrize(
    ("asked", "of_page", "by_browser"),
    [
        (RequestFacts(), False, False),
        (RequestFacts(accept="text/html, */*"), False, True),
        (RequestFacts(dest="document"), False, True),
        (RequestFacts(dest="image"), True, True),
        (RequestFacts(dest="empty", mode="cors"), True, True),
        (RequestFacts(dest="empty", mode="no-cors"), False, True),
    ],
)
def test_who_saves_the_answer(asked, of_page, by_browser):
    assert (asked.is_of_page, asked.by_browser) == (of_page, by_browser)
