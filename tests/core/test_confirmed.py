"""The confirmed set."""

from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.confirmed import ConfirmedSet
from secondlook.core.subject import SubjectKind


def entry(identity, hit, risk="dangerous", expires_at=None) -> ConfirmedEntry:
    return ConfirmedEntry(
        identity=identity,
        hit=hit,
        kind=SubjectKind.URL,
        verdict="malicious",
        risk=risk,
        threat=None,
        list=None,
        server=None,
        source=None,
        confirmed_at=1.0,
        expires_at=expires_at,
    )


A, B, C = (bytes([number]) * 32 for number in range(3))


def test_found_by_the_listed_hash():
    found = entry(A, B)
    entries = ConfirmedSet([found])
    assert entries.find([C, B]) is found
    assert entries.find([A, C]) is None
    assert (len(entries), list(entries)) == (1, [found])
    assert ConfirmedSet().find([A]) is None


def test_the_worst_entry_is_found():
    mild, bad = entry(A, A, "suspicious"), entry(B, B, "dangerous")
    assert ConfirmedSet([mild, bad]).find([A, B]) is bad
    assert ConfirmedSet([entry(A, C, "suspicious"), entry(B, C, "highly_suspicious")]).find([C]).identity == B
    unheard = entry(A, A, "worse than all")
    assert ConfirmedSet([unheard, bad]).find([A, B]) is unheard


def test_every_entry_about_a_subject_is_there():
    mild, bad, other = entry(A, C, "suspicious"), entry(B, C), entry(C, A)
    for entries in (ConfirmedSet([mild, bad, other]), ConfirmedSet([bad, mild, other])):
        assert entries.about([C, B]) == [bad, mild]
        assert entries.about([A, C]) == [other, bad, mild]
    assert ConfirmedSet().about([A]) == []


def test_an_entry_past_its_expiry_stays_until_withdrawn():
    assert ConfirmedSet([entry(A, A, expires_at=0.0)]).find([A]) is not None


def test_a_later_entry_about_the_same_subject_replaces_the_earlier():
    entries = ConfirmedSet([entry(A, B), entry(A, C)])
    assert entries.find([B]) is None
    assert entries.find([C]).hit == C
    assert len(entries) == 1
