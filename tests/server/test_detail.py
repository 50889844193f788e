"""Answers that are packed by hand."""

from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.core.verdict import Risk, Threat
from secondlook.server.publish.detail import pack_detail, pack_duration, pack_full_hash
from secondlook.server.store.names import block_list
from secondlook.wire import safebrowsing_pb2 as pb


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.binary(min_size=32, max_size=32),
            st.sampled_from([Threat.MALWARE, Threat.SOCIAL_ENGINEERING, Threat.UNWANTED_SOFTWARE]),
            st.sampled_from([Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS]),
            st.lists(st.text(max_size=200), max_size=3),
            st.one_of(st.none(), st.text(max_size=50)),
            st.one_of(st.none(), st.integers(1, 2**40)),
        ),
        max_size=5,
    ),
    st.integers(1, 2**31),
)
def test_answers_packed_by_hand_equal_those_of_the_library(listed, seconds):
    from secondlook.core.subject import SubjectKind

    expected = pb.SearchHashesResponse()
    packed = b""
    for hashed, threat, risk, feeds, family, seen in listed:
        target = block_list(SubjectKind.URL, threat, risk)
        packed += pack_full_hash(hashed, pack_detail(target, feeds=feeds, family=family, first_seen=seen))
        full = expected.full_hashes.add(full_hash=hashed)
        detail = full.full_hash_details.add(list=target.name, feeds=feeds)
        detail.threat_type = {"malware": 1, "social_engineering": 2, "unwanted_software": 3}[threat]
        detail.risk = {"dangerous": 1, "highly_suspicious": 2, "suspicious": 3}[risk]
        if family:
            detail.family = family
        if seen:
            detail.first_seen = seen
    expected.cache_duration.seconds = seconds
    assert packed + pack_duration(seconds) == expected.SerializeToString()


def test_the_golden_empty_answer():
    assert pack_duration(300).hex() == "120308ac02"
