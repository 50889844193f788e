"""What two sightings of one subject know together."""

from itertools import combinations

import pytest

from secondlook.core.sighting import STRICTEST_FIRST, stricter, united
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass


@pytest.mark.parametrize("kind", SubjectKind)
def test_every_class_has_its_place(kind):
    assert sorted(STRICTEST_FIRST[kind]) == sorted(SubjectClass)


@pytest.mark.parametrize("kind", SubjectKind)
def test_the_stricter_of_two_classes_is_the_same_whichever_comes_first(kind):
    for one, other in combinations(STRICTEST_FIRST[kind], 2):
        assert stricter(kind, one, other) is stricter(kind, other, one) is one


def test_all_hashes_are_there_once_and_the_identity_is_first():
    assert united((b"a", b"b"), (b"a", b"c", b"b")) == (b"a", b"b", b"c")
