"""The pattern: which list decides, and when nobody needs to be asked."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.hash_lists import build
from secondlook.core.answer import Tier
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import parse_list_name
from secondlook.core.lists.pattern import ListInfo, Mirror, Pattern
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SEVERITY, Risk

URL, FILE = SubjectKind.URL, SubjectKind.FILE
LOCAL, INTRANET = Tier.LOCAL, Tier.INTRANET


def full(text: str) -> bytes:
    return sha256(text.encode()).digest()


def make_list(name, *texts, tier=LOCAL, server="embedded", **facts):
    meaning = parse_list_name(name)
    info = ListInfo(
        name=name,
        width=meaning.width,
        role=meaning.role,
        kind=meaning.kind,
        threat=meaning.threat,
        risk=meaning.risk,
        tier=tier,
        server=server,
        source=server,
        **facts,
    )
    return info, HashList.open(build([full(text) for text in texts], meaning.width))


def test_the_worst_list_decides_and_then_the_exact_expression():
    pattern = Pattern(
        [
            make_list("mw-s-8b", "a.com/x", "a.com/"),
            make_list("se-hs-8b", "a.com/"),
            make_list("mw-8b", "b.com/"),
        ]
    )
    hit = pattern.block_hit(URL, [full("a.com/x"), full("a.com/")])
    assert (hit.info.name, hit.position, hit.full_hash) == ("se-hs-8b", 1, full("a.com/"))
    hit = pattern.block_hit(URL, [full("a.com/x"), full("b.com/")])
    assert (hit.info.name, hit.info.risk) == ("mw-8b", Risk.DANGEROUS)
    only = Pattern([make_list("mw-s-8b", "a.com/x", "a.com/")])
    assert only.block_hit(URL, [full("a.com/x"), full("a.com/")]).position == 0
    assert pattern.block_hit(URL, [full("c.com/")]) is None
    assert pattern.block_hit(FILE, [full("a.com/")]) is None


@given(
    st.lists(st.sampled_from("abcdef"), max_size=6),
    st.lists(
        st.tuples(
            st.sampled_from(["mw-8b", "se-hs-8b", "uws-s-8b", "x-file-mw-8b"]), st.sampled_from("abcdef")
        ),
        max_size=10,
    ),
)
def test_block_hit_equals_the_search_through_all_lists(asked, listed):
    names = sorted({name for name, _ in listed})
    pattern = Pattern([make_list(name, *[text for owner, text in listed if owner == name]) for name in names])
    found = [
        SEVERITY[parse_list_name(name).risk]
        for name, text in listed
        if text in asked and not name.startswith("x-")
    ]
    hit = pattern.block_hit(URL, [full(text) for text in asked])
    assert (hit is None) == (not found)
    if hit is not None:
        assert SEVERITY[hit.info.risk] == min(found)
        assert (hit.info.name, asked[hit.position]) in [(name, text) for name, text in listed]


def test_short_lists_only_ever_are_a_reason_to_ask():
    pattern = Pattern(
        [make_list("mw-4b", "a.com/", "b.com/"), make_list("se-4b", "a.com/"), make_list("uws-4b")]
    )
    hashes = [full("x"), full("a.com/"), full("b.com/")]
    assert pattern.block_hit(URL, hashes) is None
    hits = pattern.query_hits(URL, hashes)
    assert {(hit.info.name, hit.position) for hit in hits} == {("mw-4b", 1), ("mw-4b", 2), ("se-4b", 1)}
    assert pattern.query_hits(URL, [full("x")]) == ()
    assert Pattern().query_hits(URL, hashes) == ()


def test_known_good_counts_only_from_trusted_servers():
    hashes = [full("a.com/")]
    untrusted = Pattern([make_list("gc-32b", "a.com/")])
    assert untrusted.known_good_hit(URL, hashes) is None
    trusted = Pattern([make_list("gc-32b", "a.com/", trusted_allow=True)])
    assert trusted.known_good_hit(URL, hashes).info.name == "gc-32b"
    assert trusted.known_good_hit(URL, []) is None
    assert trusted.known_good_hit(URL, [full("b.com/")]) is None
    assert trusted.known_good_hit(FILE, hashes) is None
    assert trusted.block_hit(URL, hashes) is None


def test_digest_kinds_are_those_of_filled_file_lists():
    pattern = Pattern(
        [
            make_list("x-file-mw-8b", "a", digest_kinds=("sha256", "md5")),
            make_list("x-file-mw-s-8b", digest_kinds=("sha1",)),
            make_list("mw-8b", "b"),
        ]
    )
    assert pattern.digest_kinds == {"sha256", "md5"}


def embedded(**facts):
    mirror = Mirror(server="embedded", tier=LOCAL, whole=True, confirmed_at=1000.0, announced=True)
    return replace(mirror, **facts)


COMPLETE = [make_list("mw-8b", "a", complete=True), make_list("x-file-mw-8b", "b", complete=True)]


def test_the_embedded_server_is_mirrored_until_stale():
    pattern = Pattern(COMPLETE, [embedded()])
    assert pattern.covers(LOCAL, URL, 1000.0, stale_after_s=60)
    assert pattern.covers(LOCAL, FILE, 1060.0, stale_after_s=60)
    assert not pattern.covers(LOCAL, URL, 1060.5, stale_after_s=60)
    assert pattern.covers(LOCAL, URL, 10_000.0)
    assert not pattern.covers(INTRANET, URL, 1000.0)


@pytest.mark.parametrize(
    ("fresh_for_s", "now", "covered"),
    [(0, 1000.0, False), (30, 1029.9, True), (30, 1030.0, False), (30, 999.0, False)],
)
def test_a_remote_server_is_mirrored_for_fresh_for_only(fresh_for_s, now, covered):
    pattern = Pattern(COMPLETE, [embedded(announced=False, fresh_for_s=fresh_for_s)])
    assert pattern.covers(LOCAL, URL, now, stale_after_s=86_400) is covered


@pytest.mark.parametrize(
    ("lists", "mirror", "covered"),
    [
        (COMPLETE, embedded(whole=False), False),
        ([*COMPLETE, make_list("se-8b", "c", complete=False)], embedded(), False),
        ([*COMPLETE, make_list("mw-4b", "c", complete=True)], embedded(), False),
        ([*COMPLETE, make_list("gc-32b", "c", complete=False)], embedded(), True),
        ([*COMPLETE, make_list("se-8b", "c", server="other", tier=INTRANET)], embedded(), True),
        ([], embedded(), True),
    ],
)
def test_mirrored_means_every_list_whole(lists, mirror, covered):
    assert Pattern(lists, [mirror]).covers(LOCAL, URL, 1000.0) is covered


def test_files_may_be_mirrored_where_urls_are_not():
    pattern = Pattern([make_list("mw-8b", "a"), make_list("x-file-mw-8b", "b", complete=True)], [embedded()])
    assert not pattern.covers(LOCAL, URL, 1000.0)
    assert pattern.covers(LOCAL, FILE, 1000.0)


def test_what_a_tier_lists():
    pattern = Pattern(
        [
            make_list("mw-8b", "a"),
            make_list("se-4b", "b", tier=INTRANET),
            make_list("gc-32b", "c", trusted_allow=True),
        ]
    )
    assert pattern.lists_hash(LOCAL, URL, full("a"))
    assert not pattern.lists_hash(INTRANET, URL, full("a"))
    assert not pattern.lists_hash(INTRANET, URL, full("b"))  # 4 bytes say nothing about one hash


def test_changed_tables_are_those_that_an_earlier_pattern_did_not_have():
    one, other = make_list("mw-8b", "a"), make_list("se-4b", "b", tier=INTRANET)
    rest = [make_list("gc-32b", "c"), make_list("uws-8b"), make_list("x-file-mw-8b", "d")]
    earlier, later = Pattern([one, rest[2]]), Pattern([one, other, *rest])
    assert later.changed_tables(earlier) == {(INTRANET, URL): [other[1]]}
    assert later.changed_tables(None) == {
        (LOCAL, URL): [one[1]],
        (INTRANET, URL): [other[1]],
        (LOCAL, FILE): [rest[2][1]],
    }
    assert later.changed_tables(later) == {}
