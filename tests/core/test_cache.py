"""The cache: expiry, negative answers, restarts, and what a newer pattern contradicts."""

import struct
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.hash_lists import build
from secondlook.core.answer import GOOGLE, ListedHash, PrefixAnswer, Tier
from secondlook.core.asking.cache import AnswerCache, SavedCacheError, dump_answers, read_answers
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import parse_list_name
from secondlook.core.lists.pattern import ListInfo, Mirror, Pattern
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, Threat

URL = SubjectKind.URL
LOCAL, INTRANET, NETWORK = Tier
BAD = sha256(b"bad.test/").digest()
PREFIX = BAD[:4]


def answer(*listed, stored_at=1000.0, span_s=60.0):
    return PrefixAnswer(listed, stored_at, stored_at + span_s, "server", "server")


LISTED = ListedHash(BAD, Threat.MALWARE, Risk.DANGEROUS, "mw-8b", ("urlhaus", "own"), "emotet", 1.7e9)


def test_three_values():
    cache = AnswerCache(10)
    assert cache.get(LOCAL, URL, PREFIX, 1000.0) is None
    stored = cache.put(LOCAL, URL, PREFIX, answer())
    assert cache.get(LOCAL, URL, PREFIX, 1059.9) is stored
    assert cache.get(LOCAL, URL, PREFIX, 1060.0) is None
    assert cache.stale(LOCAL, URL, PREFIX, 1060.0, 3600.0) is stored
    assert cache.stale(LOCAL, URL, PREFIX, 4659.9, 3600.0) is stored
    assert cache.stale(LOCAL, URL, PREFIX, 4660.0, 3600.0) is None


def test_tiers_and_kinds_are_kept_apart():
    cache = AnswerCache(100)
    kept = {
        (tier, kind): cache.put(tier, kind, PREFIX, replace(answer(), server=f"{tier} {kind}"))
        for tier in Tier
        for kind in SubjectKind
    }
    for (tier, kind), stored in kept.items():
        assert cache.get(tier, kind, PREFIX, 1000.0) is stored
    assert len(cache) == len(kept)


@pytest.mark.parametrize(
    ("span_s", "kept_s"),
    [(0.0, 10.0), (-5.0, 10.0), (9.9, 10.0), (10.0, 10.0), (86_400.0, 86_400.0), (1e9, 86_400.0)],
)
def test_the_servers_expiry_is_clamped(span_s, kept_s):
    stored = AnswerCache(10).put(LOCAL, URL, PREFIX, answer(span_s=span_s))
    assert stored.expires_at - stored.stored_at == kept_s


def test_what_google_lists_is_kept_for_half_an_hour_whatever_the_clamp_is():
    cache = AnswerCache(10, expiry_s=(7200.0, 86_400.0))
    listed, nothing = answer(LISTED), answer()
    assert cache.put(NETWORK, URL, PREFIX, replace(listed, source=GOOGLE)).expires_at == 1000.0 + 1800.0
    assert cache.put(NETWORK, URL, PREFIX, listed).expires_at == 1000.0 + 7200.0
    assert cache.put(NETWORK, URL, PREFIX, replace(nothing, source=GOOGLE)).expires_at == 1000.0 + 7200.0


def test_a_clock_set_back_makes_answers_unknown():
    cache = AnswerCache(10)
    cache.put(LOCAL, URL, PREFIX, answer(stored_at=1000.0))
    assert cache.get(LOCAL, URL, PREFIX, 999.0) is None
    assert cache.stale(LOCAL, URL, PREFIX, 999.0, 3600.0) is None


def test_the_least_used_is_dropped():
    cache = AnswerCache(2)
    first, second, third = (bytes(3) + bytes([number]) for number in range(3))
    cache.put(LOCAL, URL, first, answer())
    cache.put(LOCAL, URL, second, answer())
    cache.get(LOCAL, URL, first, 1000.0)
    cache.put(LOCAL, URL, third, answer())
    assert len(cache) == 2
    assert cache.get(LOCAL, URL, second, 1000.0) is None
    assert cache.get(LOCAL, URL, first, 1000.0) is not None


names = st.text(max_size=8) | st.sampled_from(["mw-8b", "urlhaus"])
instants = st.floats(0, 4e9)
listed_hashes = st.builds(
    ListedHash,
    st.binary(min_size=32, max_size=32),
    st.sampled_from(Threat),
    st.sampled_from(Risk),
    st.none() | names,
    st.lists(names, max_size=3).map(tuple),
    st.none() | names,
    st.none() | instants,
    st.booleans(),
)
answers = st.builds(
    PrefixAnswer, st.lists(listed_hashes, max_size=3).map(tuple), instants, instants, names, names
)
keys = st.builds(
    lambda place, prefix: bytes([place]) + prefix, st.integers(0, 5), st.binary(min_size=4, max_size=4)
)


@given(st.lists(st.tuples(keys, answers), max_size=8))
def test_saved_answers_come_back(items):
    assert read_answers(dump_answers(items)) == items


def test_a_restart_keeps_what_may_still_serve_in_order_of_use():
    cache = AnswerCache(10)
    prefixes = [bytes(3) + bytes([number]) for number in range(5)]
    for number, prefix in enumerate(prefixes):
        cache.put(LOCAL, URL, prefix, answer(LISTED, span_s=100.0 * (number + 1)))
    cache.get(LOCAL, URL, prefixes[2], 1000.0)
    saved = cache.dump()
    again = AnswerCache(2)
    assert again.load(saved, now=1300.0) == 2  # those that expire at 1400 and 1500
    again = AnswerCache(10)
    assert again.load(saved, now=1300.0, stale_for_s=60.0) == 3
    assert again.get(LOCAL, URL, prefixes[4], 1300.0).listed == (LISTED,)
    small = AnswerCache(1)
    assert small.load(saved, now=1000.0) == 5
    assert small.get(LOCAL, URL, prefixes[2], 1000.0) is not None  # the most recently used stays
    assert AnswerCache(10).load(saved, now=999.0) == 0  # stored in the future


def test_a_fresher_answer_is_not_overwritten_by_a_saved_one():
    cache = AnswerCache(10)
    cache.put(LOCAL, URL, PREFIX, answer())
    saved = cache.dump()
    newer = cache.put(LOCAL, URL, PREFIX, answer(LISTED, stored_at=1010.0))
    cache.load(saved, now=1020.0)
    assert cache.get(LOCAL, URL, PREFIX, 1020.0) is newer


SAVED = dump_answers([(b"\0" + PREFIX, answer(LISTED)), (b"\1" + PREFIX, answer())])

ALIKE = dump_answers([(b"\0" + PREFIX, answer()), (b"\1" + PREFIX, answer())])


def resealed(data: bytes) -> bytes:
    return data[:12] + sha256(data[44:]).digest() + data[44:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a saved cache"),
        (b"{}" * 50, "not a saved cache"),
        (SAVED[:43], "not a saved cache"),
        (SAVED[:-1], "checksum"),
        (SAVED + b"\0", "checksum"),
        (resealed(SAVED + b"\0"), "contradicts"),
        (resealed(SAVED[:-1]), "contradicts"),
        (SAVED[:8] + struct.pack("<I", 2) + SAVED[12:], "version 2"),
        (resealed(SAVED.replace(b'"malware"', b'"palware"')), "contradicts"),
        (resealed(SAVED.replace(b'["', b"[[", 1)), "contradicts"),
        (resealed(SAVED.replace(b"\1" + PREFIX, b"\6" + PREFIX)), "contradicts"),
        (resealed(ALIKE.replace(b"\1" + PREFIX, b"\6" + PREFIX)), "contradicts"),
    ],
)
def test_a_damaged_saved_cache_is_refused_whole(data, words):
    cache = AnswerCache(10)
    with pytest.raises(SavedCacheError, match=words):
        cache.load(data, now=1000.0)
    assert len(cache) == 0


@given(st.binary(max_size=200), st.integers(0, len(SAVED) - 45))
def test_random_bytes_under_a_good_checksum_raise_nothing_else(junk, kept):
    try:
        read_answers(resealed(SAVED[: 44 + kept] + junk))
    except SavedCacheError:
        return


def make_pattern(name, *hashes, tier=LOCAL, complete=True):
    meaning = parse_list_name(name)
    info = ListInfo(
        name=name,
        width=meaning.width,
        role=meaning.role,
        kind=meaning.kind,
        threat=meaning.threat,
        risk=meaning.risk,
        tier=tier,
        server="s",
        source="s",
        complete=complete,
    )
    mirror = Mirror(server="s", tier=tier, whole=True, confirmed_at=1000.0, announced=True)
    return Pattern([(info, HashList.open(build(hashes, meaning.width)))], [mirror])


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        (make_pattern("mw-8b"), {"listed": False, "nothing": True}),  # mirrored, and no longer listed
        (make_pattern("mw-8b", complete=False), {"listed": True, "nothing": True}),
        (make_pattern("mw-8b", BAD), {"listed": True, "nothing": False}),
        (make_pattern("mw-4b", BAD), {"listed": True, "nothing": False}),
        (make_pattern("mw-8b", BAD, tier=INTRANET), {"listed": True, "nothing": True}),
        (make_pattern("x-file-mw-8b", BAD), {"listed": False, "nothing": True}),
    ],
)
def test_what_a_newer_pattern_contradicts_is_dropped(pattern, kept):
    for what, stored in (("listed", answer(LISTED)), ("nothing", answer())):
        cache = AnswerCache(10)
        cache.put(LOCAL, URL, PREFIX, stored)
        assert sum(cache.drop_contradicted(pattern, 1001.0)) == (not kept[what])
        assert (cache.get(LOCAL, URL, PREFIX, 1001.0) is not None) == kept[what]


def test_lists_that_were_there_before_are_not_searched_again():
    cache = AnswerCache(10)
    cache.put(LOCAL, URL, PREFIX, answer())
    pattern = make_pattern("mw-4b", BAD)
    assert sum(cache.drop_contradicted(pattern, 1001.0, since=pattern)) == 0
    assert sum(cache.drop_contradicted(pattern, 1001.0, since=Pattern())) == 1


def test_dropping_gives_way_and_spares_what_came_in_between():
    cache = AnswerCache(2000)
    prefixes = [number.to_bytes(4) for number in range(1000)]
    for prefix in prefixes:
        cache.put(LOCAL, URL, prefix, answer())
    pattern = make_pattern("mw-8b", *[prefix + bytes(28) for prefix in prefixes])
    steps = cache.drop_contradicted(pattern, 1001.0)
    first = next(steps)
    assert 0 < first < 1000
    newer = cache.put(
        LOCAL, URL, prefixes[0], answer(LISTED, stored_at=1001.0)
    )  # the oldest is looked at last
    assert first + sum(steps) == 999
    assert len(cache) == 1
    assert cache.get(LOCAL, URL, prefixes[0], 1001.0) is newer
