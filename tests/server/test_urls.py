"""Whole URLs, asked about by foreign clients."""

import asyncio
from hashlib import sha256

import pytest

from secondlook.server.http.urls import MAX_URLS, UrlMethods
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadRequest

LISTED = {"evil.example/": [2, 1, 1], "shop.example/bad/": [3]}


class Reader:
    """Answers like a store, and keeps what it was asked."""

    def __init__(self, *, others=()):
        self.asked = []
        self.others = others

    async def search(self, prefixes):
        self.asked.append(list(prefixes))
        answer = pb.SearchHashesResponse()
        for text, threats in LISTED.items():
            full_hash = sha256(text.encode()).digest()
            if full_hash[:4] in prefixes:
                found = answer.full_hashes.add(full_hash=full_hash)
                for threat in threats:
                    found.full_hash_details.add(threat_type=threat)
        for prefix in prefixes if self.others else ():  # of somebody else with the same first bytes
            answer.full_hashes.add(full_hash=prefix + bytes(28)).full_hash_details.add(threat_type=1)
        return answer.SerializeToString(), 1


def ask(*urls, reader=None):
    methods = UrlMethods(reader or Reader(), lambda listed: 300 if listed else 60)
    answer = asyncio.run(methods.search({b"urls": [url.encode() for url in urls]}, as_json=False))
    return pb.SearchUrlsResponse.FromString(answer.body)


def test_each_url_has_the_threats_of_all_that_lists_it_once_and_in_order():
    found = ask("http://evil.example/a?b", "https://good.example/", "http://shop.example/bad/x")
    assert [(each.url, list(each.threat_types)) for each in found.threats] == [
        ("http://evil.example/a?b", [1, 2]),
        ("http://shop.example/bad/x", [3]),
    ]
    assert found.cache_duration.seconds == 300


def test_what_nobody_lists_may_be_kept_for_less():
    found = ask("https://good.example/")
    assert not found.threats
    assert found.cache_duration.seconds == 60


def test_another_hash_of_the_same_prefix_is_no_answer():
    assert not ask("https://good.example/", reader=Reader(others=True)).threats


def test_all_are_looked_up_at_once_by_four_bytes():
    reader = Reader()
    ask("http://evil.example/", "http://evil.example/", "http://shop.example/bad/", reader=reader)
    (asked,) = reader.asked
    assert len(asked) == len(set(asked))
    assert {len(prefix) for prefix in asked} == {4}
    assert {sha256(text.encode()).digest()[:4] for text in LISTED} <= set(asked)


@pytest.mark.parametrize("count", [0, 1, MAX_URLS, MAX_URLS + 1])
def test_as_many_as_the_protocol_has_and_no_more(count):
    urls = [f"http://{number}.example/" for number in range(count)]
    if 1 <= count <= MAX_URLS:
        assert not ask(*urls).threats
    else:
        with pytest.raises(BadRequest):
            ask(*urls)


def test_an_empty_url_is_none():
    with pytest.raises(BadRequest):
        ask("")
